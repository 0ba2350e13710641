//! Ground-truth tables of OpenCell and CORUM.

use std::collections::BTreeSet;

use cytoself_io::{
    CropTable, disjoint_complexes, read_annotations, read_complexes, read_groups,
    unique_localizations,
};

#[test]
fn the_rules_give_the_derived_tables() {
    let Some(folder) = std::env::var_os("CYTOSELF_DATA").map(std::path::PathBuf::from) else {
        println!("skipped: CYTOSELF_DATA is not set");
        return;
    };
    let tables = folder.join("opencell/tables");
    let flat = read_annotations(&tables.join("2021-09-29-public-annotations-flat.csv")).unwrap();
    let wide = read_annotations(&tables.join("opencell-localization-annotations.csv")).unwrap();
    assert_eq!(
        flat.iter()
            .map(|a| &a.protein)
            .collect::<BTreeSet<_>>()
            .len(),
        1310
    );
    assert!(wide.len() > 2000);
    let unique = unique_localizations(&flat);
    let derived = read_groups(&tables.join("derived_uniloc_single_grade3.csv")).unwrap();
    assert_eq!(unique.len(), 336);
    assert!(
        derived
            .iter()
            .all(|(protein, group)| unique.group(protein) == Some(group))
    );

    let targets = CropTable::from_csv(&tables.join("all-public-targets.csv")).unwrap();
    let complexes = read_complexes(&tables.join("processed_human_corum.csv")).unwrap();
    let disjoint = disjoint_complexes(&complexes, targets.text("target_name").unwrap().iter());
    let derived = read_groups(&tables.join("derived_corum_nonoverlap.csv")).unwrap();
    assert_eq!(disjoint.len(), derived.len());
    // The numbering differs; the sets do not.
    let sets = |groups: &cytoself_io::Groups| -> BTreeSet<BTreeSet<String>> {
        let of = |group: &str| {
            groups
                .iter()
                .filter(|(_, g)| *g == group)
                .map(|(p, _)| p.to_string())
                .collect()
        };
        groups.iter().map(|(_, g)| of(g)).collect()
    };
    assert_eq!(sets(&disjoint), sets(&derived));
}
