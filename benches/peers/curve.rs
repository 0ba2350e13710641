//! The Rust side of `curve.py`: trains on given crops in the given order and prints the loss of every step.
//!
//! `curve_peer CONFIG.toml X.npy Y.npy BATCH STEPS VARIANCE FOLDER` writes the initial weights (`initial.safetensors`), then takes
//! Adam steps over consecutive batches, from the start again at the end, prints one loss per line, and leaves the codes that every
//! step chose (`codes1.npy`, `codes2.npy`: `[steps, batch, split, height, width]`).

use std::path::Path;

use candle_core::{Device, Tensor};
use cytoself_io::npy;
use cytoself_model::ops::{self, Adam, AdamParams};
use cytoself_model::{Config, LossWeights, Model, ModelError, Noise, Pass, save};
use ndarray::ArrayD;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, x, y, batch, steps, variance, folder] = &arguments[..] else {
        return Err("expected CONFIG X Y BATCH STEPS VARIANCE FOLDER".into());
    };
    let folder = Path::new(folder);
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
        &folder.join("initial.safetensors"),
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
    let mut codes = [Vec::new(), Vec::new()];
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
            for (codes, level) in codes.iter_mut().zip(&forward.levels) {
                codes.extend(level.quantized.as_ref().map(|q| q.indices.clone()));
            }
            let weights = LossWeights::new(variance.parse().unwrap_or(1.0));
            Ok::<_, ModelError>(model.loss(&forward, &x, &y, &weights)?.0)
        })?;
        println!("{}", loss.to_scalar::<f32>()?);
        adam.step(&tape.backward(&loss)?)?;
    }
    for (name, codes) in ["codes1.npy", "codes2.npy"].iter().zip(&codes) {
        let codes = Tensor::stack(codes, 0)?;
        let values = codes.flatten_all()?.to_vec1::<u32>()?;
        let values = values.into_iter().map(i64::from).collect();
        npy::write(
            &folder.join(name),
            &ArrayD::from_shape_vec(codes.dims(), values)?,
        )?;
    }
    Ok(())
}
