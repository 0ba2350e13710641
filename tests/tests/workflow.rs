//! The Snakemake workflow with two local jobs, where Snakemake is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use cytoself_tests::fixture::{PREPROCESS, contents, fields, preprocess};
use cytoself_tests::{binary, run};

/// The command that runs Snakemake; `CYTOSELF_SNAKEMAKE` may name it.
fn snakemake() -> Option<PathBuf> {
    let named = std::env::var_os("CYTOSELF_SNAKEMAKE").map(PathBuf::from);
    let program = named.unwrap_or_else(|| PathBuf::from("snakemake"));
    let works = Command::new(&program)
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success());
    if !works {
        println!("skipped: snakemake is not installed");
    }
    works.then_some(program)
}

#[test]
fn two_local_jobs_give_the_store_of_one_run() {
    let Some(snakemake) = snakemake() else { return };
    let dir = tempfile::tempdir().unwrap();
    let manifest = fields(&dir.path().join("fields"), 6, 2);
    let out = dir.path().join("with space");
    let workflow = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workflow");
    let settings = [
        format!("manifest={}", manifest.display()),
        format!("out={}", out.display()),
        format!("binaries={}", binary("merge").parent().unwrap().display()),
        "shards=3".into(),
        // Two jobs side by side.
        "threads=1".into(),
        format!("preprocess={}", PREPROCESS.join(" ")),
    ];
    let finished = Command::new(snakemake)
        .current_dir(dir.path())
        .env("XDG_CACHE_HOME", dir.path())
        .arg("--snakefile")
        .arg(workflow.join("Snakefile"))
        .args([
            "--cores", "2", "--jobs", "2", "--quiet", "progress", "rules", "--config",
        ])
        .args(&settings)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&finished.stderr);
    assert!(finished.status.success(), "{told}");

    let single = dir.path().join("single.zarr");
    preprocess(&manifest, &single, &[]).expect(0, &[]);
    let merged = dir.path().join("merged.zarr");
    let arguments = [&single, Path::new("--out"), &merged].map(|p| p.display().to_string());
    run("merge", arguments).expect(0, &[]);
    let mut made = contents(&out.join("crops.zarr"));
    // The scheduler's own mark.
    made.retain(|f| f.0 != ".snakemake_timestamp");
    assert!(made == contents(&merged));
}
