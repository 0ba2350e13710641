//! A process that is killed in the middle, and the run that goes on after it.
#![cfg(unix)]

use std::fs;
use std::path::Path;

use cytoself_tests::fixture::{
    PREPROCESS, contents, crops, fields, names, preprocess, train_flags,
};
use cytoself_tests::{run, signal, start, wait_until};

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn preprocess_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = fields(&dir.path().join("fields"), 24, 2);
    let whole: Vec<_> = (0..2)
        .map(|i| {
            let out = dir.path().join(format!("whole{i}.zarr"));
            preprocess(&manifest, &out, &["--shard", &format!("{i}/2")]).expect(0, &[]);
            out
        })
        .collect();
    let killed = dir.path().join("killed.zarr");
    let mut arguments = ["--manifest", &text(&manifest), "--out", &text(&killed)]
        .map(String::from)
        .to_vec();
    arguments.extend(PREPROCESS.map(String::from));
    arguments.extend(["--shard", "0/2", "--threads", "1", "--resume"].map(String::from));
    let parts = dir.path().join(".killed.zarr.parts");
    let finished = || {
        fs::read_dir(&parts).map_or(0, |d| {
            d.filter_map(Result::ok)
                .filter(|e| e.path().extension().is_some_and(|x| x == "json"))
                .count()
        })
    };
    // Killed twice, at different places.
    for after in [2, 5] {
        let mut child = start("preprocess", &arguments);
        assert!(wait_until(&mut child, || finished() >= after));
        let run = signal(child, "KILL");
        assert_eq!(run.code, None, "{}", run.stderr);
        assert!(!killed.exists(), "{:?}", names(dir.path()));
        let done = finished();
        assert!((after..12).contains(&done), "{done} of about 12");
    }
    arguments.retain(|a| a != "--quiet");
    run("preprocess", &arguments).expect(0, &["are finished already"]);
    let merge = |first: &Path, name: &str| {
        let out = dir.path().join(name);
        let arguments = [text(first), text(&whole[1]), "--out".into(), text(&out)];
        run("merge", arguments).expect(0, &["216 crops"]);
        out
    };
    let (a, b) = (merge(&whole[0], "a.zarr"), merge(&killed, "b.zarr"));
    assert!(contents(&a) == contents(&b));
    // What a killed process could not clean up is gone after the run that went on.
    let left = names(dir.path());
    assert!(!left.iter().any(|n| n.starts_with('.')), "{left:?}");
}

#[test]
fn train_goes_on_to_the_same_weights() {
    let dir = tempfile::tempdir().unwrap();
    let data = crops(dir.path(), 6, 2);
    let train = |out: &Path, more: &[&str]| {
        let mut flags = vec!["--epochs", "3", "--threads", "1"];
        flags.extend(more);
        train_flags(&data, out, &flags)
    };
    let whole = dir.path().join("whole");
    run("train", train(&whole, &[])).expect(0, &["all epochs done after epoch 3"]);
    let killed = dir.path().join("killed");
    let rows = || fs::read_to_string(killed.join("history.csv")).map_or(0, |t| t.lines().count());
    // In the first epoch, and in the third, a moment after the second was written.
    for lines in [0, 3] {
        let mut child = start("train", train(&killed, &["--resume"]));
        assert!(wait_until(&mut child, || killed
            .join("state.json")
            .exists()
            && rows() >= lines));
        std::thread::sleep(std::time::Duration::from_millis(30));
        let run = signal(child, "KILL");
        assert_eq!(run.code, None, "{}", run.stderr);
    }
    run("train", train(&killed, &["--resume"])).expect(0, &["going on", "all epochs done"]);
    for name in [
        "best.safetensors",
        "last.safetensors",
        "optimizer.safetensors",
    ] {
        let of = |folder: &Path| fs::read(folder.join(name)).unwrap();
        assert!(of(&whole) == of(&killed), "{name} differs");
    }
}
