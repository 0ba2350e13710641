//! Weights in the HDF5 files of the TensorFlow release, beside a NumPy forward pass of TensorFlow's rules (`fixtures/keras/make.py`).

#[path = "parity/npz.rs"]
#[allow(dead_code)] // shared with the test of the PyTorch fixtures, which reads more of it
mod npz;

use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use cytoself_model::{Config, FlattenOrder, Model, ModelError, PaddingRule, Pass, Weights};
use npz::{Array, Npz};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/keras")
        .join(name)
}

fn unpacked() -> Vec<u8> {
    let packed = std::fs::read(fixture("weights.h5.gz")).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// The weights as the file that Keras writes.
fn weights(bytes: &[u8]) -> Result<Weights, ModelError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.h5");
    std::fs::write(&path, bytes).unwrap();
    Weights::read(&path)
}

fn config() -> Config {
    Config::from_toml(&std::fs::read_to_string(fixture("config.toml")).unwrap()).unwrap()
}

fn tensor(array: &Array) -> Tensor {
    let values: Vec<f32> = array.values.iter().map(|v| *v as f32).collect();
    Tensor::from_vec(values, array.shape.as_slice(), &Device::Cpu).unwrap()
}

fn assert_close(name: &str, found: &Tensor, expected: &Array) {
    assert_eq!(found.dims(), expected.shape, "{name}");
    let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
    let largest = expected.values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (f, e) in found.iter().zip(&expected.values) {
        // The gate of the stages of the PyTorch fixtures.
        assert!(
            (f64::from(*f) - e).abs() <= 5e-5 * largest,
            "{name}: {f} instead of {e}"
        );
    }
}

#[test]
fn the_network_computes_what_tensorflow_does() {
    let weights = weights(&unpacked()).unwrap();
    assert_eq!(weights.classes(), Some(3));
    let model = Model::with_weights(&config().model, &weights, &Device::Cpu).unwrap();
    let expected = Npz::read(&fixture("expected.npz"));
    let (x, pass) = (tensor(expected.get("x")), Pass::evaluate());
    // By packed encoders.
    for model in [model.frozen().unwrap(), model.settled().unwrap()] {
        let forward = model.forward(&x, &pass).unwrap();
        for (level, number) in forward.levels.iter().zip(1..) {
            let name = format!("encoder{number}");
            assert_close(&name, &level.encoded, expected.get(&name));
        }
    }
    let forward = model.forward(&x, &pass).unwrap();
    for (level, number) in forward.levels.iter().zip(1..) {
        let name = format!("encoder{number}");
        assert_close(&name, &level.encoded, expected.get(&name));
        let indices = &level.quantized.as_ref().unwrap().indices;
        let indices = indices.to_dtype(candle_core::DType::F32).unwrap();
        assert_close("indices", &indices, expected.get(&format!("vqind{number}")));
        let name = format!("fc{number}");
        let proteins = model.identify(&x, number, &pass).unwrap();
        assert_close(&name, &proteins, expected.get(&name));
    }
    assert_close(
        "decoder2",
        &forward.inner.unwrap(),
        expected.get("decoder2"),
    );
    assert_close(
        "recon",
        &forward.reconstruction.unwrap(),
        expected.get("recon"),
    );
}

#[test]
fn a_network_of_another_shape_is_refused_by_the_dataset() {
    let weights = weights(&unpacked()).unwrap();
    let mut config = config().model;
    config.levels[1].quantizer.codes = 17;
    let error = Model::with_weights(&config, &weights, &Device::Cpu)
        .err()
        .unwrap()
        .to_string();
    for part in ["VQ2/VQ2/embedding_vq:0", "[17, 8]", "[16, 8]"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_network_of_pytorchs_arithmetic_is_refused() {
    let weights = weights(&unpacked()).unwrap();
    let refused = |change: &dyn Fn(&mut Config), field: &str| {
        let mut config = config();
        change(&mut config);
        let error = Model::with_weights(&config.model, &weights, &Device::Cpu);
        let error = error.err().unwrap().to_string();
        assert!(error.contains(field) && error.contains("paper"), "{error}");
    };
    refused(
        &|c| c.model.padding = PaddingRule::Symmetric,
        "model.padding",
    );
    refused(
        &|c| c.model.flatten = FlattenOrder::ChannelFirst,
        "model.flatten",
    );
    refused(&|c| c.model.norm.epsilon = 1e-5, "model.norm.epsilon");
}

#[test]
fn files_that_are_no_weights_are_errors_that_name_them() {
    let whole = unpacked();
    for bytes in [
        &whole[..0],
        &whole[..2000],
        &whole[..whole.len() / 2],
        b"no HDF5",
    ] {
        let error = weights(bytes).err().unwrap().to_string();
        assert!(error.contains("model.h5"), "{error}");
    }
    // Another name of a layer, of the same length, everywhere in the file.
    let renamed = replaced(&whole, b"top_conv", b"not_conv");
    let error = weights(&renamed).err().unwrap().to_string();
    assert!(
        error.contains("not_conv") && error.contains("no place"),
        "{error}"
    );
}

#[test]
fn damaged_bytes_are_errors_or_other_numbers_but_no_panics() {
    let whole = unpacked();
    let mut state = 1u64;
    for _ in 0..200 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] ^= (state >> 20) as u8 | 1;
        }
        let _ = weights(&bytes);
    }
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
    }
    bytes
}
