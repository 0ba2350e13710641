//! The Rust side of `curve.py`: trains on given crops in the given order and prints the loss of every step.
//!
//! `curve_peer CONFIG.toml X.npy Y.npy BATCH STEPS VARIANCE INITIAL.safetensors` writes the initial weights, then takes Adam steps
//! over consecutive batches, from the start again at the end, and prints one loss per line.

use std::path::Path;

use candle_core::{Device, Tensor};
use cytoself_io::npy;
use cytoself_model::ops::{self, Adam, AdamParams};
use cytoself_model::{Config, LossWeights, Model, ModelError, Noise, Pass, save};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, x, y, batch, steps, variance, initial] = &arguments[..] else {
        return Err("expected CONFIG X Y BATCH STEPS VARIANCE INITIAL".into());
    };
    let config = Config::from_toml(&std::fs::read_to_string(config)?)?;
    let (batch, steps): (usize, usize) = (batch.parse()?, steps.parse()?);
    let images = npy::read_f32(Path::new(x))?;
    let labels: Vec<u32> = npy::read_i64(Path::new(y))?
        .iter()
        .map(|&l| l as u32)
        .collect();
    let shape = images.shape().to_vec();
    let images = Tensor::from_vec(images.iter().copied().collect(), shape, &Device::Cpu)?;
    let model = Model::new(&config.model, config.training.seed, &Device::Cpu)?;
    let tensors = model.parameters().iter();
    save(
        Path::new(initial),
        tensors.map(|p| (&*p.name, p.value.as_tensor().clone())),
        "initial weights",
    )?;

    let t = &config.training;
    let weights = model.parameters().weights();
    let named = weights.map(|p| (p.name.clone(), p.value.clone())).collect();
    let params = AdamParams {
        learning_rate: t.learning_rate,
        beta1: t.beta1,
        beta2: t.beta2,
        eps: t.epsilon,
        weight_decay: 0.0,
    };
    let mut adam = Adam::new(named, params)?;
    let batches = labels.len() / batch;
    for step in 0..steps {
        let start = step % batches * batch;
        let x = images.narrow(0, start, batch)?.contiguous()?;
        let y = Tensor::new(&labels[start..start + batch], &Device::Cpu)?;
        let pass = Pass::train(Noise {
            seed: t.seed,
            step: step as u64,
        });
        let (loss, tape) = ops::record(|| {
            let forward = model.forward(&x, &pass)?;
            let weights = LossWeights::new(variance.parse().unwrap_or(1.0));
            Ok::<_, ModelError>(model.loss(&forward, &x, &y, &weights)?.0)
        })?;
        println!("{}", loss.to_scalar::<f32>()?);
        adam.step(&tape.backward(&loss)?)?;
    }
    Ok(())
}
