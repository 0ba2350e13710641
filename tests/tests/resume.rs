//! Settings given together with `train --resume`.

use std::fs;
use std::path::Path;

use cytoself_tests::fixture::{crops, train_flags};
use cytoself_tests::run;

#[test]
fn train_refuses_other_settings_on_resume() {
    let dir = tempfile::tempdir().unwrap();
    let data = crops(dir.path(), 6, 2);
    let model = dir.path().join("model");
    let of = |flags: &[&str]| {
        let [data, out] = [&data, &model].map(|p| p.display().to_string());
        let mut all = vec!["--data".to_string(), data, "--out".to_string(), out];
        all.extend(flags.iter().map(ToString::to_string));
        run("train", all)
    };
    let first = train_flags(&data, &model, &["--epochs", "1", "--seed", "7", "--resume"]);
    run("train", first.clone()).expect(0, &["all epochs done"]);
    let weights = fs::read(model.join("last.safetensors")).unwrap();
    for (flags, words) in [
        (
            ["--ema-decay", "0.9"],
            ["quantizer.ema_decay is 0.0", "ask for 0.9"],
        ),
        (["--batch-size", "4"], ["training.batch is 8", "ask for 4"]),
        (
            ["--preset", "small"],
            ["preset is \"torch-micro\"", "ask for \"small\""],
        ),
        (["--seed", "8"], ["training.seed is 7", "ask for 8"]),
        (["--channels", "pro"], ["model.channels is", "ask for"]),
        (["--hold-out", "GFP"], ["--hold-out GFP", "no crop"]),
        (
            ["--normalize", "crop"],
            ["model.normalization", "--overwrite"],
        ),
    ] {
        let mut all = flags.to_vec();
        all.push("--resume");
        of(&all).expect(2, &words);
    }
    let config = model.join("config.toml").display().to_string();
    // The same flags again, the training's own configuration, none at all: it goes on.
    run("train", first).expect(0, &["going on after epoch 1"]);
    of(&["--resume", "--config", &config]).expect(0, &["going on after epoch 1"]);
    of(&["--resume", "--max-memory", "4G"]).expect(0, &["going on after epoch 1"]);
    assert!(same(&model, &weights));
    of(&["--resume", "--epochs", "2"]).expect(0, &["all epochs done after epoch 2"]);
    assert!(!same(&model, &weights));
}

fn same(model: &Path, weights: &[u8]) -> bool {
    fs::read(model.join("last.safetensors")).unwrap() == weights
}
