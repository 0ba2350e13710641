//! State dicts and checkpoints that PyTorch saved.

use std::path::{Path, PathBuf};

use cytoself_model::Weights;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/torch")
        .join(name)
}

fn values(weights: &Weights, name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = &weights.tensors()[name];
    let flat = tensor.flatten_all().unwrap();
    (tensor.dims().to_vec(), flat.to_vec1().unwrap())
}

#[test]
fn a_state_dict_with_views_halves_and_counters() {
    let weights = Weights::read(&fixture("state.pt")).unwrap();
    let straight = vec![0.0, 0.25, 0.5, 0.75, 1.0, 1.25];
    assert_eq!(
        values(&weights, "encoders.0.weight"),
        (vec![2, 3], straight)
    );
    let turned = vec![0.0, 0.75, 0.25, 1.0, 0.5, 1.25];
    assert_eq!(values(&weights, "encoders.0.turned"), (vec![3, 2], turned));
    let half = vec![0.0, 0.25, 0.5];
    assert_eq!(values(&weights, "encoders.0.half"), (vec![1, 3], half));
    let counter = &weights.tensors()["encoders.0.num_batches_tracked"];
    assert_eq!(counter.to_scalar::<i64>().unwrap(), 7);
}

#[test]
fn a_checkpoint_of_cytoself() {
    let weights = Weights::read(&fixture("checkpoint.pt")).unwrap();
    assert_eq!(weights.tensors().len(), 1);
    assert_eq!(values(&weights, "encoders.0.weight").0, [2, 3]);
}

#[test]
fn damaged_files_are_errors_that_name_them() {
    let bytes = std::fs::read(fixture("state.pt")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("cut.pt", &bytes[..bytes.len() / 2]),
        ("text.pt", b"no zip".as_slice()),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let error = Weights::read(&path).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}
