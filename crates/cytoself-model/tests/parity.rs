//! The numbers of the PyTorch reference: forward, losses, gradients, buffers and one optimizer step.
//!
//! The micro fixture is part of the repository (made with the reference in PyTorch 2.15, float32; `model.safetensors` are
//! its weights). The full-size fixture `tfdec` and the stepped weights are read from the folder in `CYTOSELF_DATA`.

#[path = "parity/npz.rs"]
mod npz;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use cytoself_model::ops::{Adam, AdamParams, ConvAlgorithm};
use cytoself_model::{Config, Forward, LossWeights, Metrics, Model, Pass, Weights};
use npz::{Array, Npz};

struct Case {
    fixture: Npz,
    model: Model,
    images: Tensor,
    labels: Tensor,
}

impl Case {
    fn open(preset: &str, folder: &Path) -> Self {
        let fixture = Npz::read(&folder.join("fixtures.npz"));
        let weights = Weights::read(&folder.join("model.safetensors")).unwrap();
        let mut config = Config::preset(preset).unwrap().model;
        config.classes = weights.classes().unwrap();
        let model = Model::with_weights(&config, &weights, &Device::Cpu).unwrap();
        let input = fixture.get("input");
        let values: Vec<f32> = input.values.iter().map(|v| *v as f32).collect();
        let images = Tensor::from_vec(values, &*input.shape, &Device::Cpu).unwrap();
        let labels: Vec<u32> = fixture
            .get("label")
            .values
            .iter()
            .map(|v| *v as u32)
            .collect();
        let labels = Tensor::new(labels, &Device::Cpu).unwrap();
        Self {
            fixture,
            model,
            images,
            labels,
        }
    }

    /// The same numbers with another model of the same weights.
    fn with(&self, model: Model) -> Self {
        Self {
            fixture: self.fixture.clone(),
            model,
            images: self.images.clone(),
            labels: self.labels.clone(),
        }
    }

    fn forward(&self, train: bool, algorithm: ConvAlgorithm) -> (Forward, Tensor, Metrics) {
        let pass = Pass {
            train,
            noise: None,
            algorithm,
            first: 0,
        };
        let forward = self.model.forward(&self.images, &pass).unwrap();
        let weights = LossWeights::new(self.fixture.scalar("variance"));
        let (loss, metrics) = self
            .model
            .loss(&forward, &self.images, &self.labels, &weights)
            .unwrap();
        (forward, loss, metrics)
    }
}

fn micro() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/micro")
}

fn data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CYTOSELF_DATA").map(|d| Path::new(&d).join("parity").join(name));
    if folder.is_none() {
        println!("skipped: CYTOSELF_DATA is not set");
    }
    folder
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap()
        .into_iter()
        .map(f64::from)
        .collect()
}

fn l2(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Largest difference over the images in `keep`, as a share of the stage's largest value.
fn assert_stage(name: &str, ours: &Tensor, expected: &Array, keep: &[bool], gate: f64) {
    assert_eq!(ours.dims(), &*expected.shape, "{name}");
    let scale = expected.values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let per_image = expected.values.len() / keep.len();
    let worst = flat(ours)
        .iter()
        .zip(&expected.values)
        .enumerate()
        .filter(|(i, _)| keep[i / per_image])
        .map(|(_, (a, b))| (a - b).abs())
        .fold(0.0, f64::max);
    println!("{name}: {:.2e} of the largest value", worst / scale);
    assert!(worst <= gate * scale, "{name}: {worst:e} of {scale:e}");
}

/// Code indices, equal wherever the second-best code is clearly worse; returns the images with equal indices.
fn check_codes(case: &Case, forward: &Forward, level: usize) -> Vec<bool> {
    let q = forward.levels[level - 1].quantized.as_ref().unwrap();
    let expected = case.fixture.get(&format!("eval/vq{level}.vqind"));
    let gap = &case.fixture.get(&format!("eval/vq{level}.gap12")).values;
    let [n, split, h, w] = expected.shape[..] else {
        panic!("vqind {:?}", expected.shape)
    };
    assert_eq!(q.indices.dims(), &*expected.shape);
    let ours = q.indices.flatten_all().unwrap().to_vec1::<u32>().unwrap();
    let mut equal = vec![true; n];
    for (i, (a, b)) in ours.iter().zip(&expected.values).enumerate() {
        let (image, s, position) = (i / (split * h * w), i / (h * w) % split, i % (h * w));
        if f64::from(*a) != *b {
            // The gaps are flat in (image, h, w, split).
            let gap = gap[(image * h * w + position) * split + s];
            assert!(
                gap <= 1e-3,
                "level {level}, place {i}: code {a} instead of {b} with a gap of {gap}"
            );
            equal[image] = false;
        }
    }
    let histogram = case.fixture.get(&format!("eval/vq{level}.vqindhist"));
    let codes = histogram.shape[1];
    for (i, (a, b)) in flat(&q.histogram).iter().zip(&histogram.values).enumerate() {
        assert!(
            a == b || !equal[i / codes],
            "level {level}: histogram entry {i}: {a} instead of {b}"
        );
    }
    equal
}

/// With weights that are trained, layer by layer and by either algorithm; frozen; and settled, by packed encoders.
fn check_forwards(case: &Case) {
    check_forward(case, ConvAlgorithm::Gemm);
    check_forward(case, ConvAlgorithm::Auto);
    for model in [case.model.frozen(), case.model.settled()] {
        check_forward(&case.with(model.unwrap()), ConvAlgorithm::Auto);
    }
}

fn check_forward(case: &Case, algorithm: ConvAlgorithm) {
    let (forward, _, metrics) = case.forward(false, algorithm);
    let all = vec![true; case.images.dims()[0]];
    let expect = |name: &str| case.fixture.get(&format!("eval/{name}"));
    // Winograd loses about one more decimal digit than the matrix product.
    let gate = 5e-5;
    assert_stage(
        "encoder1",
        &forward.levels[0].encoded,
        expect("vq1.encoded"),
        &all,
        gate,
    );
    assert_stage(
        "encoder2",
        &forward.levels[1].encoded,
        expect("vq2.encoded"),
        &all,
        gate,
    );
    let equal1 = check_codes(case, &forward, 1);
    let equal2 = check_codes(case, &forward, 2);
    let both: Vec<bool> = equal1.iter().zip(&equal2).map(|(a, b)| *a && *b).collect();
    assert_stage(
        "vqvec1",
        forward.levels[0].representation(),
        expect("vq1.vqvec"),
        &equal1,
        gate,
    );
    assert_stage(
        "vqvec2",
        forward.levels[1].representation(),
        expect("vq2.vqvec"),
        &equal2,
        gate,
    );
    assert_stage(
        "fc1",
        forward.logits[0].as_ref().unwrap(),
        expect("fc1.logits"),
        &equal1,
        gate,
    );
    assert_stage(
        "fc2",
        forward.logits[1].as_ref().unwrap(),
        expect("fc2.logits"),
        &equal2,
        gate,
    );
    assert_stage(
        "decoder2",
        forward.inner.as_ref().unwrap(),
        expect("decoder2"),
        &equal2,
        gate,
    );
    assert_stage(
        "recon",
        forward.reconstruction.as_ref().unwrap(),
        expect("recon"),
        &both,
        gate,
    );
    if both.iter().all(|e| *e) {
        let names = [
            "loss",
            "reconstruction1_loss",
            "reconstruction2_loss",
            "fc1_loss",
            "fc2_loss",
        ];
        let in_fixture = |name: &str| {
            if name == "loss" {
                "eval/loss".to_string()
            } else {
                format!("eval/loss.{name}")
            }
        };
        check_losses(case, &metrics, &names, in_fixture);
        let vq = ["loss", "perplexity", "commitment_loss", "quantization_loss"];
        for level in 1..=2 {
            for name in vq {
                let ours = if name == "perplexity" {
                    format!("perplexity{level}")
                } else {
                    format!("vq{level}_{name}")
                };
                check_losses(case, &metrics, &[&ours], |_| {
                    format!("eval/vq{level}.{name}")
                });
            }
        }
    }
}

fn check_losses(case: &Case, metrics: &Metrics, names: &[&str], key: impl Fn(&str) -> String) {
    for name in names {
        let (ours, expected) = (metrics.get(name).unwrap(), case.fixture.scalar(&key(name)));
        assert!(
            (ours - expected).abs() <= 1e-5 * expected.abs(),
            "{name}: {ours} instead of {expected}"
        );
    }
}

/// The bias of a projection's norm has a true gradient of 0: only rounding noise is left.
fn is_noise(name: &str) -> bool {
    let Some(rest) = name.strip_suffix(".1.bias") else {
        return false;
    };
    // Projections are the last part of a block: 2 without, 3 with expansion.
    let Some((block, part)) = rest.rsplit_once(".block.") else {
        return false;
    };
    part == "3"
        || (part == "2" && block.ends_with("features.1.0") && block.starts_with("encoders.0"))
}

fn check_train(case: &Case) -> GradStore {
    let (_, loss, metrics) = case.forward(true, ConvAlgorithm::Gemm);
    let names: Vec<&str> = cytoself_model::METRICS
        .into_iter()
        .filter(|n| {
            !n.ends_with("softmax_loss") && case.fixture.find(&format!("train/{n}")).is_some()
        })
        .collect();
    assert!(names.len() >= 13, "{names:?}");
    check_losses(case, &metrics, &names, |n| format!("train/{n}"));
    let gradients = loss.backward().unwrap();
    check_gradients(case, &gradients);
    for p in case.model.parameters().iter() {
        if let Some(expected) = case.fixture.find(&format!("bn_after/{}", p.name)) {
            assert_stage(&p.name, p.value.as_tensor(), expected, &[true], 1e-5);
        }
    }
    gradients
}

fn check_gradients(case: &Case, gradients: &GradStore) {
    let names = case.fixture.texts("grad/names");
    let norms = &case.fixture.get("grad/l2").values;
    let largest = norms.iter().fold(0.0_f64, |m, v| m.max(*v));
    let ours: Vec<&str> = case
        .model
        .parameters()
        .weights()
        .map(|p| &*p.name)
        .collect();
    assert_eq!(ours, names, "the order of PyTorch's parameters");
    for (p, norm) in case.model.parameters().weights().zip(norms) {
        let gradient = flat(
            gradients
                .get(&p.value)
                .unwrap_or_else(|| panic!("{} has no gradient", p.name)),
        );
        let difference = match case.fixture.find(&format!("grad_full/{}", p.name)) {
            Some(full) => l2(&gradient
                .iter()
                .zip(&full.values)
                .map(|(a, b)| a - b)
                .collect::<Vec<_>>()),
            None => (l2(&gradient) - norm).abs(),
        };
        assert!(
            difference <= 1e-3 * norm + 1e-6 * largest,
            "{}: {difference:e} of {norm:e}",
            p.name
        );
    }
}

fn check_step(case: &Case, gradients: &GradStore, params: AdamParams, after: &Path) {
    let named = case
        .model
        .parameters()
        .weights()
        .map(|p| (p.name.clone(), p.value.clone()))
        .collect();
    Adam::new(named, params).unwrap().step(gradients).unwrap();
    let expected: HashMap<String, Tensor> = Weights::read(after).unwrap().tensors().clone();
    let mut compared = 0;
    for p in case
        .model
        .parameters()
        .weights()
        .filter(|p| !is_noise(&p.name))
    {
        let Some(expected) = expected.get(&p.name) else {
            continue;
        };
        let gradient = flat(gradients.get(&p.value).unwrap());
        let floor = gradient.iter().fold(0.0_f64, |m, g| m.max(g.abs())) * 1e-4;
        let values = flat(p.value.as_tensor())
            .into_iter()
            .zip(flat(expected))
            .zip(gradient);
        for ((a, b), _) in values.filter(|(_, g)| g.abs() > floor.max(1e-6)) {
            assert!((a - b).abs() <= 1e-5, "{}: {a} instead of {b}", p.name);
            compared += 1;
        }
    }
    println!("{compared} weights compared after one step");
    assert!(compared > 10_000);
}

#[test]
fn micro_forward() {
    let case = Case::open("torch-micro", &micro());
    check_forwards(&case);
}

#[test]
fn micro_gradients_and_buffers() {
    check_train(&Case::open("torch-micro", &micro()));
}

#[test]
fn micro_adamw_step_by_samples() {
    let case = Case::open("torch-micro", &micro());
    let gradients = check_train(&case);
    let named = case
        .model
        .parameters()
        .weights()
        .map(|p| (p.name.clone(), p.value.clone()))
        .collect();
    Adam::new(named, AdamParams::adam_w(4e-4))
        .unwrap()
        .step(&gradients)
        .unwrap();
    let norms = &case.fixture.get("adamw/param_l2").values;
    for (p, norm) in case
        .model
        .parameters()
        .weights()
        .zip(norms)
        .filter(|(p, _)| !is_noise(&p.name))
    {
        let ours = l2(&flat(p.value.as_tensor()));
        assert!(
            (ours - norm).abs() <= 1e-5 * norm.max(1.0),
            "{}: {ours} instead of {norm}",
            p.name
        );
    }
}

#[test]
fn micro_steps() {
    let Some(folder) = data("micro") else { return };
    for (params, name) in [
        (AdamParams::adam(4e-4), "adam"),
        (AdamParams::adam_w(4e-4), "adamw"),
    ] {
        let case = Case::open("torch-micro", &micro());
        let gradients = check_train(&case);
        check_step(
            &case,
            &gradients,
            params,
            &folder.join(format!("model_after_{name}.safetensors")),
        );
    }
}

/// The paper's sizes.
#[test]
fn tfdec() {
    let Some(folder) = data("tfdec") else { return };
    let case = Case::open("torch-tfdec", &folder);
    check_forwards(&case);
    let gradients = check_train(&case);
    check_step(
        &case,
        &gradients,
        AdamParams::adam_w(4e-4),
        &folder.join("model_after_adamw.safetensors"),
    );
}
