//! The tagged proteins of a data set: classes, mixed localisations, complexes, plates.

use super::pattern::{Diffuse, Localization, Pattern};
use super::rng::Rng;

/// A tagged protein.
#[derive(Debug, Clone)]
pub struct Protein {
    /// Name, e.g. `MITO1`; the letters tell the first class.
    pub name: String,
    /// The patterns with their weights, the main one first.
    pub patterns: Vec<(Pattern, f32)>,
    /// What is dissolved beside them, and its weight.
    pub pool: (Diffuse, f32),
    /// Photons of the brightest structures of a typical field.
    pub photons: f32,
    /// Number of the complex it belongs to.
    pub complex: Option<usize>,
    /// The plate on which most of its fields are taken.
    pub plate: usize,
}

impl Protein {
    /// The localisation as tables have it: classes joined by `;`, the main one first.
    #[must_use]
    pub fn localization(&self) -> String {
        self.patterns
            .iter()
            .map(|(p, _)| p.localization().name())
            .collect::<Vec<_>>()
            .join(";")
    }

    /// The class, if there is only one.
    #[must_use]
    pub fn single_localization(&self) -> Option<&'static str> {
        match self.patterns.as_slice() {
            [(pattern, _)] => Some(pattern.localization().name()),
            _ => None,
        }
    }
}

/// Deals `count` proteins to the classes: every class in turn, about one in ten with two localisations, and in every class
/// that has at least three proteins a complex of two (of three from five proteins on) whose subunits look alike.
#[must_use]
pub fn deal(count: usize, plates: usize, seed: u64) -> Vec<Protein> {
    let mixed = if count >= 20 { count / 10 } else { 0 };
    let single = count - mixed;
    let classes = Localization::ALL.len();
    let mut proteins = Vec::with_capacity(count);
    for index in 0..single {
        let (class, rank) = (index % classes, index / classes);
        let members = single / classes + usize::from(class < single % classes);
        let subunits = match members {
            0..=2 => 0,
            3..=4 => 2,
            _ => 3,
        };
        let complex = (rank < subunits).then_some(class);
        proteins.push(single_protein(
            Localization::ALL[class],
            rank,
            complex,
            seed,
        ));
    }
    for rank in 0..mixed {
        proteins.push(mixed_protein(rank, seed));
    }
    // Neighbours in the list share a class and must not share a plate.
    for (index, protein) in proteins.iter_mut().enumerate() {
        protein.plate = (index + index / classes) % plates;
    }
    proteins
}

const STYLE: u64 = 1;
const LEVEL: u64 = 2;
const MIXED: u64 = 3;

fn single_protein(class: Localization, rank: usize, complex: Option<usize>, seed: u64) -> Protein {
    // Subunits of one complex draw their style from the same stream.
    let style_of = if complex.is_some() { 0 } else { rank as u64 };
    let mut style = Rng::new(seed, &[STYLE, class as u64, style_of]);
    let mut level = Rng::new(seed, &[LEVEL, class as u64, rank as u64]);
    Protein {
        name: format!("{}{}", class.prefix(), rank + 1),
        patterns: vec![(Pattern::draw(class, &mut style), 1.0)],
        pool: (Diffuse::pool(&mut style), style.range(0.03, 0.22)),
        photons: photons(&mut level),
        complex,
        plate: 0,
    }
}

/// Pairs of classes that proteins often share.
const PAIRS: [(Localization, Localization); 8] = [
    (Localization::Nucleoplasm, Localization::Cytoplasm),
    (Localization::Golgi, Localization::Vesicles),
    (Localization::Nucleolus, Localization::Nucleoplasm),
    (Localization::Cytoplasm, Localization::Vesicles),
    (Localization::Er, Localization::NuclearMembrane),
    (Localization::Mitochondria, Localization::Cytoplasm),
    (Localization::Chromatin, Localization::Nucleolus),
    (Localization::Nucleoplasm, Localization::Vesicles),
];

fn mixed_protein(rank: usize, seed: u64) -> Protein {
    let (first, second) = PAIRS[rank % PAIRS.len()];
    let mut rng = Rng::new(seed, &[MIXED, rank as u64]);
    let patterns = vec![
        (Pattern::draw(first, &mut rng), 1.0),
        (Pattern::draw(second, &mut rng), rng.range(0.5, 0.9)),
    ];
    Protein {
        name: format!(
            "{}{}{}",
            &first.prefix()[..2],
            &second.prefix()[..2],
            rank + 1
        ),
        patterns,
        pool: (Diffuse::pool(&mut rng), rng.range(0.02, 0.1)),
        photons: photons(&mut rng),
        complex: None,
        plate: 0,
    }
}

/// The same distribution for every class, so that brightness tells nothing.
fn photons(rng: &mut Rng) -> f32 {
    (120.0 * rng.log_normal(0.45)).clamp(35.0, 420.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_proteins_fill_the_classes() {
        let proteins = deal(30, 3, 42);
        for class in Localization::ALL {
            assert_eq!(
                proteins
                    .iter()
                    .filter(|p| p.single_localization() == Some(class.name()))
                    .count(),
                3
            );
        }
        assert_eq!(proteins.iter().filter(|p| p.patterns.len() == 2).count(), 3);
        assert_eq!(proteins.iter().filter(|p| p.complex == Some(4)).count(), 2);
        let mut names: Vec<_> = proteins.iter().map(|p| p.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 30);
    }

    #[test]
    fn subunits_share_their_style_and_nothing_else() {
        let proteins = deal(27, 3, 1);
        let subunits: Vec<_> = proteins.iter().filter(|p| p.complex == Some(0)).collect();
        assert_eq!(
            format!("{:?}", subunits[0].patterns),
            format!("{:?}", subunits[1].patterns)
        );
        assert_ne!(subunits[0].photons, subunits[1].photons);
    }
}
