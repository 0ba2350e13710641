//! Shards of `preprocess` and `embed`, joined by `merge`: the bytes depend neither on their number nor on their order.

use std::path::{Path, PathBuf};

use cytoself_tests::fixture::{contents, fields, names, preprocess, train_flags};
use cytoself_tests::run;

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Joins stores; the order is turned around so that it cannot matter.
fn merge(shards: &[PathBuf], out: &Path) -> cytoself_tests::Run {
    let mut arguments: Vec<String> = shards.iter().rev().map(|p| text(p)).collect();
    arguments.extend(["--out".to_string(), text(out)]);
    run("merge", arguments)
}

/// The joined shards of `preprocess`, with one field that cannot be read.
fn merged_crops(folder: &Path, manifest: &Path, count: usize) -> PathBuf {
    let shards: Vec<PathBuf> = (0..count)
        .map(|i| {
            let out = folder.join(format!("shard{i}of{count}.zarr"));
            preprocess(manifest, &out, &["--shard", &format!("{i}/{count}")]).expect(0, &[]);
            out
        })
        .collect();
    let out = folder.join(format!("merged{count}.zarr"));
    merge(&shards, &out).expect(0, &["54 crops"]);
    out
}

#[test]
fn any_number_of_shards_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = fields(&dir.path().join("fields"), 7, 2);
    std::fs::write(dir.path().join("fields/f3.ome.tif"), "no image").unwrap();
    let stores = [1, 2, 7].map(|n| merged_crops(dir.path(), &manifest, n));
    let first = contents(&stores[0]);
    let listed: Vec<&str> = first.iter().map(|f| f.0.as_str()).collect();
    for file in ["table.csv", "fields.csv", "failures.csv", "done.json"] {
        assert!(listed.contains(&file), "{listed:?}");
    }
    for store in &stores[1..] {
        for ((name, a), (other, b)) in first.iter().zip(contents(store)) {
            assert!(*name == other && *a == b, "{name} differs in {store:?}");
        }
    }
    let failures = std::fs::read_to_string(stores[2].join("failures.csv")).unwrap();
    assert!(
        failures.lines().count() == 2 && failures.contains("f3.ome.tif"),
        "{failures}"
    );

    // Embeddings of the joined store, in shards and at once.
    let model = dir.path().join("model");
    run("train", train_flags(&stores[0], &model, &["--epochs", "1"])).expect(0, &[]);
    let embed = |out: &Path, more: &[String]| {
        let mut arguments = ["--model", &text(&model), "--data", &text(&stores[0])]
            .map(String::from)
            .to_vec();
        arguments.extend(["--outputs", "vqind1,vqind2,vqindhist1", "--out"].map(String::from));
        arguments.push(text(out));
        arguments.extend_from_slice(more);
        run("embed", arguments).expect(0, &[]);
    };
    let whole = dir.path().join("whole.zarr");
    embed(&whole, &[]);
    for count in [1, 2, 7] {
        let shards: Vec<PathBuf> = (0..count)
            .map(|i| {
                let out = dir.path().join(format!("embedded{i}of{count}.zarr"));
                embed(&out, &["--shard".into(), format!("{i}/{count}")]);
                out
            })
            .collect();
        let out = dir.path().join(format!("embedded{count}.zarr"));
        if count == 7 {
            merge(&shards[1..6], &out).expect(2, &["0/7, 6/7 are missing", "--partial"]);
        }
        merge(&shards, &out).expect(0, &["54 crops"]);
        assert!(contents(&out) == contents(&whole), "{count} shards");
    }
}

#[test]
fn what_cannot_be_joined_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = fields(&dir.path().join("fields"), 6, 2);
    let shard = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        preprocess(&manifest, &out, more).expect(0, &[]);
        out
    };
    let a = shard("a.zarr", &["--shard", "0/2"]);
    let b = shard("b.zarr", &["--shard", "1/2"]);
    let small = shard("small.zarr", &["--pixels", "u16"]);
    let out = dir.path().join("out.zarr");
    let before = names(dir.path());
    merge(std::slice::from_ref(&a), &out).expect(2, &["1/2 is missing", "--partial"]);
    merge(&[a.clone(), a.clone()], &out).expect(2, &["1/2 is missing"]);
    merge(&[a.clone(), b.clone(), small], &out).expect(2, &["layout", "U16", "F32"]);
    let whole = shard("whole.zarr", &[]);
    let before: Vec<String> = before.into_iter().chain(["whole.zarr".into()]).collect();
    merge(&[a.clone(), b, whole], &out).expect(2, &["crop", "twice"]);
    merge(&[dir.path().join("fields")], &out).expect(2, &["fields", "store"]);
    assert_eq!(names(dir.path()), before);
    let arguments = ["--partial", "--out", &text(&out), &text(&a)];
    run("merge", arguments).expect(0, &["from 1 stores"]);
}
