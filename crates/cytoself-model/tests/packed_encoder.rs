//! Encoders for evaluation, whose weights and maps are packed for vectors, against the same network operation by operation.

use candle_core::{Device, Tensor, Var};
use cytoself_model::ops::RngKey;
use cytoself_model::{Config, Model, ModelConfig, Noise, PaddingRule, Pass};

/// A network whose normalisation is not the initial one.
fn model(config: &ModelConfig) -> Model {
    let model = Model::new(config, 3, &Device::Cpu).unwrap();
    for (stream, p) in model.parameters().iter().enumerate() {
        let key = RngKey {
            seed: 5,
            stream: stream as u64,
            step: 0,
        };
        let [spread, around] = match p.name.rsplit('.').next().unwrap() {
            "running_mean" => [0.3, 0.0],
            "running_var" => [0.2, 1.0],
            "bias" => [0.3, 0.1],
            "weight" if p.value.dims().len() == 1 => [0.2, 1.0],
            _ => continue,
        };
        let n = p.value.elem_count() as u64;
        let values = (0..n).map(|i| (around + spread * key.normal(i)).clamp(-2.0, 2.0));
        // A variance is positive.
        let low = if p.name.ends_with("var") { 0.3 } else { -2.0 };
        let values: Vec<f32> = values.map(|v| v.max(low)).collect();
        let values = Tensor::from_vec(values, p.value.dims(), &Device::Cpu).unwrap();
        p.value.set(&values).unwrap();
    }
    model
}

fn images(config: &ModelConfig, n: usize) -> Tensor {
    let [h, w] = config.input;
    let values: Vec<f32> = (0..n * config.channels.len() * h * w)
        .map(|i| ((i * 7919) % 1009) as f32 / 1009.0 + (i as f32 * 0.013).sin() * 0.3)
        .collect();
    Tensor::from_vec(values, (n, config.channels.len(), h, w), &Device::Cpu).unwrap()
}

fn values(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    let square = expected.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let rms = (square / expected.len() as f64).sqrt();
    assert!(rms > 1e-3, "{what}: the maps must not be empty");
    assert_eq!(found.len(), expected.len(), "{what}");
    for (f, e) in found.iter().zip(expected) {
        let off = f64::from((f - e).abs());
        assert!(off <= 2e-4 * rms, "{what}: {f}, expected {e}");
    }
}

fn in_pool<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(f)
}

fn preset(name: &str, input: [usize; 2]) -> ModelConfig {
    let mut config = Config::preset(name).unwrap().model;
    (config.classes, config.input) = (3, input);
    config
}

/// Channels that fill vectors and channels that do not, even and odd maps, kernels of 3 and 5 with both strides and both paddings, a second
/// stem, blocks that do not expand, one to three channels of the image.
fn configurations() -> Vec<(String, ModelConfig)> {
    let mut all = Vec::new();
    for input in [[40, 40], [49, 51], [37, 64]] {
        for padding in [PaddingRule::Symmetric, PaddingRule::Tensorflow] {
            let mut config = preset("torch-micro", input);
            config.padding = padding;
            all.push((format!("torch-micro {input:?} {padding:?}"), config));
        }
    }
    let mut config = preset("torch-micro", [40, 40]);
    config.channels = vec!["pro".into()];
    let stage = &mut config.levels[0].encoder.stages[1];
    (stage.input, stage.output, stage.expand) = (13, 21, 5);
    config.levels[0].encoder.stages[0].output = 13;
    config.levels[1].encoder.stem = None;
    config.levels[1].encoder.stages[0].expand = 1;
    config.levels[1].encoder.stages[0].input = config.levels[0].quantizer.width();
    all.push(("odd channels, no second stem".to_string(), config));
    let mut config = preset("small", [100, 100]);
    config.channels.push("nuc".into());
    all.push(("small".to_string(), config));
    all.push(("paper".to_string(), preset("paper", [100, 100])));
    all
}

#[test]
fn packed_encoders_equal_the_layers_one_by_one() {
    for (name, config) in configurations() {
        let model = model(&config);
        let x = images(&config, 3);
        for level in [1, 2] {
            let pass = Pass::evaluate();
            let expected = values(&model.encode(&x, level, &pass).unwrap());
            let frozen = model.frozen().unwrap();
            let found = values(&frozen.encode(&x, level, &pass).unwrap());
            assert_close(&found, &expected, &format!("{name}, level {level}"));
        }
    }
}

#[test]
fn an_image_is_encoded_to_the_same_bits_in_any_company() {
    let config = preset("torch-micro", [49, 51]);
    let settled = model(&config).settled().unwrap();
    let x = images(&config, 9);
    let encode = |x: &Tensor| values(&settled.encode(x, 2, &Pass::evaluate()).unwrap());
    let all = in_pool(1, || encode(&x));
    for threads in [2, 3, 16] {
        assert_eq!(in_pool(threads, || encode(&x)), all);
    }
    let each = all.chunks_exact(all.len() / 9);
    for (i, expected) in each.enumerate() {
        assert_eq!(encode(&x.narrow(0, i, 1).unwrap()), expected);
    }
    assert_eq!(
        encode(&x.narrow(0, 3, 5).unwrap()),
        all[all.len() / 3..][..all.len() / 9 * 5]
    );
}

#[test]
fn no_image_gives_no_map() {
    let config = preset("torch-micro", [40, 40]);
    let frozen = model(&config).frozen().unwrap();
    let encoded = frozen
        .encode(&images(&config, 0), 2, &Pass::evaluate())
        .unwrap();
    assert_eq!(encoded.dims()[0], 0);
}

#[test]
fn settled_weights_stay_and_frozen_ones_follow() {
    let config = preset("torch-micro", [40, 40]);
    let model = model(&config);
    let (frozen, settled) = (model.frozen().unwrap(), model.settled().unwrap());
    let x = images(&config, 2);
    let embed = |m: &Model| {
        let levels = m.forward(&x, &Pass::evaluate()).unwrap().levels;
        levels.map(|level| {
            let q = level.quantized.unwrap();
            let loss = q.loss.reshape(1).unwrap();
            [&level.encoded, &q.quantized, &q.histogram, &loss].map(values)
        })
    };
    let before = embed(&frozen);
    assert_eq!(embed(&settled), before);
    for p in model.parameters().weights() {
        p.value.set(&(p.value.as_tensor() * 1.5).unwrap()).unwrap();
    }
    assert_eq!(embed(&settled), before);
    let after = embed(&frozen);
    for (after, before) in after.iter().flatten().zip(before.iter().flatten()) {
        assert_ne!(after, before);
    }
}

#[test]
fn gradients_into_images_and_noise_go_by_the_layers() {
    let config = preset("torch-micro", [40, 40]);
    let model = model(&config);
    let x = Var::from_tensor(&images(&config, 2)).unwrap();
    let gradient = |m: &Model| {
        let y = m.encode(&x, 2, &Pass::evaluate()).unwrap();
        let store = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        values(store.get(&x).expect("a gradient into the images"))
    };
    let expected = gradient(&model);
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!(largest > 1e-6, "{largest:e}");
    let noisy = Pass {
        noise: Some(Noise { seed: 1, step: 0 }),
        ..Pass::evaluate()
    };
    let x = images(&config, 2);
    let with_noise = values(&model.encode(&x, 2, &noisy).unwrap());
    let without = values(&model.encode(&x, 2, &Pass::evaluate()).unwrap());
    assert_ne!(with_noise, without);
    for other in [model.frozen().unwrap(), model.settled().unwrap()] {
        assert_eq!(gradient(&other), expected);
        let found = values(&other.encode(&x, 2, &noisy).unwrap());
        assert_close(&found, &with_noise, "noise");
    }
}

#[test]
fn a_stage_that_does_not_expand_names_the_channels_that_it_reads() {
    let mut config = preset("torch-micro", [40, 40]);
    config.levels[0].encoder.stages[0].expand = 1;
    config.levels[0].encoder.stages[0].input += 8;
    let error = Model::new(&config, 3, &Device::Cpu).err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains("model.levels[0].encoder.stages[0].input"),
        "{text}"
    );
}
