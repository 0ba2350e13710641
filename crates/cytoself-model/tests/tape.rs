//! Gradients from the tape against those from candle's graph, parameter by parameter.

use candle_core::{Device, Tensor};
use cytoself_model::ops;
use cytoself_model::{
    Config, FlattenOrder, InnerTarget, LossWeights, Model, ModelConfig, ModelError, Noise, Pass,
    Upsampling,
};

const SEED: u64 = 7;

fn images(config: &ModelConfig, n: usize) -> Tensor {
    let [h, w] = config.input;
    let values: Vec<f32> = (0..n * config.channels.len() * h * w)
        .map(|i| ((i * 7919) % 1009) as f32 / 1009.0 + (i as f32 * 0.013).sin() * 0.3)
        .collect();
    Tensor::from_vec(values, (n, config.channels.len(), h, w), &Device::Cpu).unwrap()
}

/// Both ways from the same weights; returns the number of parameters that were compared.
fn compare(config: &ModelConfig) -> usize {
    let images = images(config, 3);
    let labels = Tensor::new(&[0u32, 2, 1], &Device::Cpu).unwrap();
    let weights = LossWeights {
        variance: 0.1,
        identification: 0.7,
        quantizer: 1.3,
    };
    let pass = Pass::train(Noise {
        seed: SEED,
        step: 3,
    });
    let loss_of = |model: &Model| -> Result<Tensor, ModelError> {
        let forward = model.forward(&images, &pass)?;
        Ok(model.loss(&forward, &images, &labels, &weights)?.0)
    };
    // Each way has a network of its own: a training pass moves the running statistics.
    let graph_model = Model::new(config, SEED, &Device::Cpu).unwrap();
    let graph_loss = loss_of(&graph_model).unwrap();
    let graph = graph_loss.backward().unwrap();
    let tape_model = Model::new(config, SEED, &Device::Cpu).unwrap();
    let (tape_loss, tape) = ops::record(|| loss_of(&tape_model)).unwrap();
    let tape = tape.backward(&tape_loss).unwrap();
    let scalar = |t: &Tensor| t.to_scalar::<f32>().unwrap();
    assert_eq!(scalar(&graph_loss), scalar(&tape_loss));

    // The true gradient of some biases is 0 (a batch norm follows): what is left there is rounding.
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let largest_of = |values: &[f32]| values.iter().fold(0f32, |m, v| m.max(v.abs()));
    let overall = graph_model
        .parameters()
        .weights()
        .filter_map(|p| graph.get(&p.value))
        .map(|g| largest_of(&values(g)))
        .fold(0.0, f32::max);
    let pairs = graph_model
        .parameters()
        .weights()
        .zip(tape_model.parameters().weights());
    let mut compared = 0;
    for (a, b) in pairs {
        assert_eq!(a.name, b.name);
        let (expected, found) = (graph.get(&a.value), tape.get(&b.value));
        assert_eq!(expected.is_some(), found.is_some(), "{}", a.name);
        let (Some(expected), Some(found)) = (expected, found) else {
            continue;
        };
        assert_eq!(expected.dims(), found.dims(), "{}", a.name);
        let (expected, found) = (values(expected), values(found));
        let gate = 1e-5 * largest_of(&expected) + 1e-6 * overall;
        for (e, f) in expected.iter().zip(&found) {
            assert!(
                (e - f).abs() <= gate,
                "{}: {e} from the graph, {f} from the tape",
                a.name
            );
        }
        compared += 1;
    }
    compared
}

fn micro() -> ModelConfig {
    let mut config = Config::preset("torch-micro").unwrap().model;
    config.classes = 4;
    config
}

#[test]
fn the_pytorch_network_with_dropout_and_stochastic_depth() {
    assert!(compare(&micro()) > 100);
}

#[test]
fn the_tensorflow_details() {
    let mut config = micro();
    config.flatten = FlattenOrder::ChannelLast;
    config.upsampling = Upsampling::BilinearLegacy;
    config.inner_target = InnerTarget::Encoder;
    for level in &mut config.levels {
        level.head.hidden = Some(16);
        level.decoder.bias = true;
        level.decoder.affine = true;
    }
    assert!(compare(&config) > 100);
}

#[test]
fn without_quantisers() {
    let mut config = micro();
    for level in &mut config.levels {
        level.quantizer.enabled = false;
    }
    assert!(compare(&config) > 100);
}
