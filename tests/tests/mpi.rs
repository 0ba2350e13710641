//! `train --mpi` under a real `mpirun`: two processes train as one, differing ones are refused, a lost one ends the job.
//!
//! Only with a build that has the feature `mpi`, and where there is an `mpirun`: `.ci/mpi` makes such a run.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cytoself_model::Weights;
use cytoself_tests::fixture::crops;
use cytoself_tests::{Run, binary, run, wait_until};

/// Adam's epsilon is so large that a step is in proportion to its gradient: one that is nothing but rounding makes no step.
const CONFIG: &str = "preset = \"torch-micro\"\n[model]\nchannels = [\"pro\", \"nucdist\"]\nclasses = 2\n\
[training]\nepochs = 3\nbatch = 7\nepsilon = 10.0\nlearning_rate = 1e-4\nsync_batch_norm = true\ncheckpoint_batches = 2\n";

/// `mpirun` with the flags that this machine needs; none after saying that the test is skipped.
fn mpirun() -> Option<Vec<String>> {
    let Ok(found) = Command::new("mpirun").arg("--version").output() else {
        println!("skipped: there is no mpirun");
        return None;
    };
    let built = run("train", ["--data", "x", "--out", "y", "--mpi"]);
    if built.stderr.contains("this build has no MPI") {
        println!("skipped: train was built without the feature mpi (.ci/mpi builds it)");
        return None;
    }
    let mut words = vec!["mpirun".to_string()];
    if String::from_utf8_lossy(&found.stdout).contains("Open MPI") {
        words.extend(
            [
                "--allow-run-as-root",
                "--oversubscribe",
                "--bind-to",
                "none",
            ]
            .map(String::from),
        );
    }
    Some(words)
}

/// One group of processes: how many, and their flags of `train`.
fn group(count: usize, data: &Path, out: &Path, more: &[&str]) -> Vec<String> {
    let config = out.parent().unwrap().join("config.toml");
    fs::write(&config, CONFIG).unwrap();
    let of = |path: &Path| path.display().to_string();
    let mut words = vec!["-n".to_string(), count.to_string(), of(&binary("train"))];
    words.extend(["--mpi", "--threads", "1", "--data"].map(String::from));
    words.extend([
        of(data),
        "--out".into(),
        of(out),
        "--config".into(),
        of(&config),
    ]);
    words.extend(more.iter().map(ToString::to_string));
    words
}

fn start(launcher: &[String], groups: &[Vec<String>]) -> Child {
    Command::new(&launcher[0])
        .args(&launcher[1..])
        .args(groups.join(&":".to_string()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mpirun starts")
}

fn finish(child: Child) -> Run {
    child.wait_with_output().expect("mpirun ends").into()
}

fn launch(launcher: &[String], groups: &[Vec<String>]) -> Run {
    finish(start(launcher, groups))
}

/// The largest difference of trained values and of running statistics, each relative to the largest value among them.
fn difference(a: &Path, b: &Path) -> f32 {
    let read = |folder: &Path| Weights::read(&folder.join("last.safetensors")).unwrap();
    let (a, b) = (read(a), read(b));
    let mut kinds = [[0.0f32; 2]; 3];
    for name in a
        .tensors()
        .keys()
        .filter(|n| !n.ends_with("num_batches_tracked"))
    {
        let values = |w: &Weights| -> Vec<f32> {
            w.tensors()[name].flatten_all().unwrap().to_vec1().unwrap()
        };
        let kind = ["running_mean", "running_var"]
            .iter()
            .position(|k| name.ends_with(k));
        let [largest, apart] = &mut kinds[kind.map_or(0, |k| k + 1)];
        for (x, y) in values(&a).iter().zip(values(&b)) {
            *largest = largest.max(x.abs());
            *apart = apart.max((x - y).abs());
        }
    }
    kinds
        .iter()
        .fold(0.0, |most, [largest, apart]| most.max(apart / largest))
}

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    [
        "last.safetensors",
        "best.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    .map(|name| fs::read(folder.join(name)).unwrap())
    .to_vec()
}

#[test]
fn two_processes_train_as_one() {
    let Some(launcher) = mpirun() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = crops(dir.path(), 6, 2);
    let (one, two, killed) = (
        dir.path().join("one"),
        dir.path().join("two"),
        dir.path().join("killed"),
    );
    launch(&launcher, &[group(1, &data, &one, &[])]).expect(0, &["all epochs done after epoch 3"]);
    let found = launch(&launcher, &[group(2, &data, &two, &[])]);
    found.expect(
        0,
        &[
            "2 ranks",
            "batch statistics: shared",
            "all epochs done after epoch 3",
        ],
    );
    assert_eq!(
        found.stderr.matches("all epochs done").count(),
        1,
        "rank 0 alone speaks"
    );
    let apart = difference(&one, &two);
    println!("weights of two processes and of one after three epochs: {apart:.1e} apart");
    assert!(apart < 1e-5, "{apart:e}");

    // Sums after the backward pass and not beside it.
    let after = dir.path().join("after");
    let found = launch(&launcher, &[group(2, &data, &after, &["--no-overlap"])]);
    found.expect(0, &[" 0 % beside the backward pass"]);
    assert!(bytes(&two) == bytes(&after));

    // One of two is killed in the second epoch: the job ends at once, and goes on to the same bits.
    let both = || [group(2, &data, &killed, &["--resume"])];
    let mut job = start(&launcher, &both());
    let rows = || fs::read_to_string(killed.join("history.csv")).map_or(0, |t| t.lines().count());
    assert!(wait_until(&mut job, || rows() >= 2));
    let children = Command::new("pgrep")
        .args([
            "-f",
            &format!("{} --mpi.*{}", binary("train").display(), killed.display()),
        ])
        .args(["-P", &job.id().to_string()])
        .output()
        .expect("pgrep runs");
    let children = String::from_utf8_lossy(&children.stdout).into_owned();
    let last = children.lines().last().expect("mpirun has children");
    assert!(
        Command::new("kill")
            .args(["-KILL", last])
            .status()
            .unwrap()
            .success()
    );
    let ended = finish(job);
    assert_ne!(ended.code, Some(0), "{}", ended.stderr);
    launch(&launcher, &both()).expect(0, &["going on", "all epochs done after epoch 3"]);
    assert!(bytes(&two) == bytes(&killed));
}

#[test]
fn processes_that_differ_are_refused() {
    let Some(launcher) = mpirun() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = crops(dir.path(), 6, 2);
    let out = dir.path().join("model");
    for (flags, words) in [
        (
            ["--seed", "7"],
            "rank 1 has another seed than rank 0: expected 42, found 7",
        ),
        (["--epochs", "9"], "another number of epochs"),
        (
            ["--batch-size", "6"],
            "another batch than rank 0: expected 7, found 6",
        ),
    ] {
        let groups = [group(1, &data, &out, &[]), group(1, &data, &out, &flags)];
        let found = launch(&launcher, &groups);
        found.expect(2, &[words]);
        assert_eq!(
            found.stderr.matches("error:").count(),
            1,
            "{}",
            found.stderr
        );
        assert!(!out.exists());
    }
    // One process cannot read its crops: its own line, and the job ends.
    let groups = [
        group(1, &data, &out, &[]),
        group(1, &dir.path().join("none"), &out, &[]),
    ];
    launch(&launcher, &groups).expect(2, &["rank 1 of 2"]);
    assert!(!out.exists());
}
