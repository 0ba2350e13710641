//! Proteins held out of training, through the binaries.

use std::path::Path;

use cytoself_tests::fixture::{crops, train_flags};
use cytoself_tests::run;

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_held_out_protein_is_embedded_and_assigned_but_never_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = crops(dir.path(), 24, 4);
    let model = dir.path().join("model");
    let epochs = ["--epochs", "1", "--hold-out", "P3"];
    run("train", train_flags(&data, &model, &epochs)).expect(0, &["held out: P3", "3 proteins"]);
    let proteins = || std::fs::read_to_string(model.join("proteins.txt")).unwrap();
    assert_eq!(proteins(), "P0\nP1\nP2\n");
    // More epochs leave it out too, without being told again.
    let more = ["--epochs", "2", "--resume"];
    run("train", train_flags(&data, &model, &more)).expect(0, &["held out: P3"]);
    assert_eq!(proteins(), "P0\nP1\nP2\n");
    let unknown = ["--hold-out", "P9"];
    let other = dir.path().join("other");
    run("train", train_flags(&data, &other, &unknown)).expect(2, &["P9"]);

    let embeddings = dir.path().join("e.zarr");
    let arguments = [
        "--model",
        &text(&model),
        "--data",
        &text(&data),
        "--out",
        &text(&embeddings),
    ];
    let outputs = ["--outputs", "vqind1", "--split", "test"];
    run("embed", arguments.into_iter().chain(outputs)).expect(0, &[]);
    let groups = dir.path().join("groups.csv");
    std::fs::write(
        &groups,
        "protein,group\nP0,ring\nP1,spots\nP2,ring\nP3,spots\n",
    )
    .unwrap();
    let out = dir.path().join("spectrum");
    let done = run(
        "spectrum",
        [
            "--embeddings",
            &text(&embeddings),
            "--groups",
            &text(&groups),
            "--clusters",
            "3",
            "--out",
            &text(&out),
        ],
    );
    done.expect(0, &[]);
    assert!(
        done.stdout.contains("of 1 assigned to their own family"),
        "{}",
        done.stdout
    );
    let table = std::fs::read_to_string(out.join("held_out.csv")).unwrap();
    assert!(
        table.lines().nth(1).unwrap().starts_with("P3,spots,"),
        "{table}"
    );
}
