//! The ground truths of the paper through the binary.

use cytoself_tests::{data, run};

#[test]
fn rules_on_a_table_of_our_own() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let annotations = write(
        "a.csv",
        "target_name,annotations_grade_3,annotations_grade_2,annotations_grade_1\nA,er,,\nB,er,golgi,\nC,,er,\nD,golgi,,\nE,er;golgi,,\n",
    );
    let complexes = write(
        "c.csv",
        "complex,gene_names\n0,A\n0,B\n0,C\n1,C\n1,D\n2,D\n2,E\n3,A\n4,E\n4,Z\n",
    );
    let out = dir.path().join("truth");
    let arguments = [
        "--annotations",
        &annotations,
        "--complexes",
        &complexes,
        "--out",
        &out.display().to_string(),
    ];
    run("truth", arguments).expect(
        0,
        &["2 proteins of 2 localisations", "5 proteins of 2 complexes"],
    );
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(read("organelles.csv"), "protein,group\nA,er\nD,golgi\n");
    let mut lines: Vec<String> = read("complexes.csv")
        .lines()
        .skip(1)
        .map(String::from)
        .collect();
    lines.sort();
    // 1 shares C with the larger 0, 3 has one subunit, 4 a subunit that is no target.
    assert_eq!(lines, ["A,0", "B,0", "C,0", "D,2", "E,2"]);
    run("truth", arguments).expect(2, &["exists"]);
}

#[test]
fn opencell_and_corum() {
    let Some(folder) = data() else { return };
    let tables = folder.join("opencell/tables");
    let table = |name: &str| tables.join(name).display().to_string();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("truth").display().to_string();
    run(
        "truth",
        [
            "--annotations",
            &table("2021-09-29-public-annotations-flat.csv"),
            "--complexes",
            &table("processed_human_corum.csv"),
            "--targets",
            &table("all-public-targets.csv"),
            "--out",
            &out,
        ],
    )
    .expect(
        0,
        &[
            "organelles.csv: 336 proteins",
            "complexes.csv: 62 proteins of 18 complexes",
        ],
    );
}
