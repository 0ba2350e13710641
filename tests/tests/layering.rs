//! The edges between the crates, as `cargo metadata` sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which libraries of ours each library may use.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("cytoself-io", &[]),
    ("cytoself-segment", &[]),
    ("cytoself-vq", &[]),
    ("cytoself-model", &["cytoself-io", "cytoself-vq"]),
    ("cytoself-umap", &[]),
    ("cytoself-spectrum", &[]),
    ("cytoself-eval", &[]),
];

/// The libraries that the project stands on; each is a direct dependency of at least one of ours.
const CARD: [&str; 10] = [
    "candle-core",
    "candle-nn",
    "cudarc",
    "ndarray",
    "ndarray-stats",
    "imageproc",
    "linfa",
    "kodama",
    "rayon",
    "thiserror",
];

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version=1",
            "--manifest-path",
            manifest,
        ])
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Package name by package id.
fn names(metadata: &Value) -> BTreeMap<&str, &str> {
    list(&metadata["packages"])
        .iter()
        .map(|p| (text(&p["id"]), text(&p["name"])))
        .collect()
}

/// Direct, non-development dependencies of every workspace member, by package name.
fn direct(metadata: &Value) -> BTreeMap<&str, BTreeSet<&str>> {
    let members: BTreeSet<&str> = list(&metadata["workspace_members"])
        .iter()
        .map(text)
        .collect();
    list(&metadata["packages"])
        .iter()
        .filter(|p| members.contains(text(&p["id"])))
        .map(|p| {
            let normal = list(&p["dependencies"])
                .iter()
                .filter(|d| d["kind"].is_null());
            (text(&p["name"]), normal.map(|d| text(&d["name"])).collect())
        })
        .collect()
}

/// Everything that a package links, found by walking the resolved graph.
fn closure<'a>(metadata: &'a Value, root: &str) -> BTreeSet<&'a str> {
    let names = names(metadata);
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|n| (text(&n["id"]), n))
        .collect();
    let start = names
        .iter()
        .find(|(_, name)| **name == root)
        .map(|(id, _)| *id)
        .expect("a member");
    let mut seen = BTreeSet::from([start]);
    let mut open = vec![start];
    while let Some(id) = open.pop() {
        for dependency in list(&nodes[id]["deps"]) {
            let normal = list(&dependency["dep_kinds"])
                .iter()
                .any(|k| k["kind"].is_null());
            let next = text(&dependency["pkg"]);
            if normal && seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen.into_iter().map(|id| names[id]).collect()
}

#[test]
fn libraries_know_only_whom_they_may() {
    let metadata = metadata();
    let direct = direct(&metadata);
    for (name, allowed) in ALLOWED {
        let ours = |d: &&str| ALLOWED.iter().any(|(other, _)| other == d);
        let found: BTreeSet<&str> = direct[name].iter().copied().filter(ours).collect();
        assert_eq!(
            found,
            allowed.iter().copied().collect(),
            "{name}: edges to our own libraries"
        );
    }
}

#[test]
fn the_analysis_never_sees_the_network() {
    let metadata = metadata();
    for name in [
        "cytoself-umap",
        "cytoself-spectrum",
        "cytoself-eval",
        "cytoself-io",
        "cytoself-segment",
    ] {
        let closure = closure(&metadata, name);
        for network in ["candle-core", "candle-nn", "cytoself-vq", "cytoself-model"] {
            assert!(!closure.contains(network), "{name} reaches {network}");
        }
    }
}

#[test]
fn every_library_of_the_card_is_used_directly() {
    let metadata = metadata();
    let direct = direct(&metadata);
    for wanted in CARD {
        let users = ALLOWED
            .iter()
            .filter(|(name, _)| direct[name].contains(wanted))
            .count();
        assert!(users > 0, "{wanted} is a direct dependency of no library");
    }
}

/// What `cargo tree` shows of a selection with default features.
fn tree(selection: &str) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(cargo)
        .arg("tree")
        .args(selection.split(' '))
        .args(["--prefix", "none", "--manifest-path", manifest])
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && tree.contains("rayon"), "{tree}");
    tree
}

#[test]
fn the_quantiser_stands_without_candle_and_cuda() {
    let tree = tree("-p cytoself-vq -e normal");
    for heavy in ["candle", "cudarc", "gemm"] {
        assert!(!tree.contains(heavy), "{heavy} in\n{tree}");
    }
}

#[test]
fn the_default_build_knows_nothing_of_cuda() {
    let tree = tree("--workspace -e normal,build");
    for heavy in ["cudarc", "candle-kernels"] {
        assert!(!tree.contains(heavy), "{heavy} in\n{tree}");
    }
}

/// An older ndarray may be used under another name, for the bounds of a crate that is private to ours (linfa).
#[test]
fn one_version_is_called_ndarray() {
    let metadata = metadata();
    let names = names(&metadata);
    let mut versions = BTreeSet::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        if !ALLOWED
            .iter()
            .any(|(name, _)| names[text(&node["id"])] == *name)
        {
            continue;
        }
        let dependencies = list(&node["deps"]).iter();
        versions.extend(
            dependencies
                .filter(|d| d["name"] == "ndarray")
                .map(|d| text(&d["pkg"])),
        );
    }
    assert_eq!(
        versions.len(),
        1,
        "our libraries call these ndarray: {versions:?}"
    );
}
