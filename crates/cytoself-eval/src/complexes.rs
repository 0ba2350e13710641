use std::collections::{BTreeMap, BTreeSet};

/// Complexes that may serve as ground truth, and why the others may not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChosenComplexes {
    /// Name and subunits of each chosen complex, sorted.
    pub chosen: BTreeMap<String, BTreeSet<String>>,
    /// Complexes with a subunit that was not imaged.
    pub incomplete: Vec<String>,
    /// Complexes that share a subunit with another complete one.
    pub overlapping: Vec<String>,
    /// Complexes of fewer than two subunits.
    pub single: Vec<String>,
}

/// Chooses complexes by the paper's three rules: all subunits imaged, no subunit shared, more than one subunit.
///
/// Of complexes that overlap, none is kept: which of two to keep would be a choice that the data cannot make. Two
/// complexes of exactly the same subunits are one; the first name stands for both.
///
/// # References
/// Kobayashi et al. 2022, Methods, "Ground truth labels in UMAP representation".
///
/// # Example
/// ```
/// use cytoself_eval::choose_complexes;
/// let complexes = [("p", vec!["A", "B"]), ("q", vec!["C", "X"]), ("r", vec!["D", "E"]), ("s", vec!["E", "F"]), ("t", vec!["G"])];
/// let imaged = ["A", "B", "C", "D", "E", "F", "G"];
/// let found = choose_complexes(complexes, imaged);
/// assert_eq!(found.chosen.keys().collect::<Vec<_>>(), ["p"]);
/// assert_eq!((found.incomplete, found.overlapping, found.single), (vec!["q".into()], vec!["r".into(), "s".into()], vec!["t".into()]));
/// ```
pub fn choose_complexes<'a>(
    complexes: impl IntoIterator<Item = (&'a str, Vec<&'a str>)>,
    imaged: impl IntoIterator<Item = &'a str>,
) -> ChosenComplexes {
    let imaged: BTreeSet<&str> = imaged.into_iter().collect();
    let mut found = ChosenComplexes::default();
    let mut complete: BTreeMap<BTreeSet<&str>, &str> = BTreeMap::new();
    for (name, subunits) in complexes {
        let subunits: BTreeSet<&str> = subunits.into_iter().collect();
        if subunits.len() < 2 {
            found.single.push(name.to_string());
        } else if !subunits.is_subset(&imaged) {
            found.incomplete.push(name.to_string());
        } else {
            complete.entry(subunits).or_insert(name);
        }
    }
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    complete
        .keys()
        .flatten()
        .for_each(|subunit| *uses.entry(subunit).or_default() += 1);
    for (subunits, name) in &complete {
        if subunits.iter().any(|s| uses[s] > 1) {
            found.overlapping.push((*name).to_string());
        } else {
            let subunits = subunits.iter().map(ToString::to_string).collect();
            found.chosen.insert((*name).to_string(), subunits);
        }
    }
    found.overlapping.sort();
    found
}
