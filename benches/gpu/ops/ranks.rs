//! Several ranks that train one network, each a thread with a stream of its own, on one device or with a GPU each.

use std::sync::Arc;
use std::thread;

use candle_core::{Device, Tensor};
use cytoself_model::ops::Precision;
use cytoself_model::{
    Config, Placement, Threads, Trainer, TrainingData, TrainingState, Weights, open_device,
};

use super::batches::{Crops, Folder, Quiet};
use super::{Failure, Found};

/// Measures, trained tensors, running statistics and the optimizer's means after one step of a training with dropout, stochastic depth,
/// shared batch statistics, and shares of the batch that differ. Adam's epsilon is so large that a step is in proportion to its
/// gradient: one that is nothing but rounding must not become a whole step.
///
/// There are as many ranks as `devices`; `nccl` sums their gradients from GPU to GPU.
pub(crate) fn trained(devices: &[String], nccl: bool) -> Result<Found, Failure> {
    let mut config = Config::preset("torch-micro")?;
    // Seven of them train.
    let crops = Crops::new(11, &config.model.channels);
    config.model.classes = Crops::PROTEINS;
    config.training.batch = 7;
    config.training.epochs = 1;
    config.training.epsilon = 10.0;
    config.training.sync_batch_norm = true;
    let folder = Folder::new()?;
    let state = thread::scope(|scope| {
        let ranks: Vec<_> = Threads::team(devices.len())
            .into_iter()
            .zip(devices)
            .map(|(rank, device)| {
                let (config, crops, folder) = (config.clone(), &crops, &folder);
                let train = move || train((device, nccl), rank, config, crops, folder);
                scope.spawn(move || train().map_err(|e| e.to_string()))
            })
            .collect();
        let mut states = ranks.into_iter().map(|rank| match rank.join() {
            Ok(state) => state,
            Err(_) => Err("a rank panicked".to_string()),
        });
        let first = states.next().unwrap_or(Err("no ranks".to_string()))?;
        // The ranks' networks have been compared bit by bit before the checkpoint.
        states.try_for_each(|state| state.map(|_| ()))?;
        Ok::<TrainingState, String>(first)
    })?;
    let mut found = measures(&state)?;
    for (file, kinds) in [
        ("last.safetensors", &["running", ""][..]),
        ("optimizer.safetensors", &["exp_avg_sq", "exp_avg"]),
    ] {
        found.extend(tensors(&folder, file, kinds)?);
    }
    Ok(found)
}

fn train(
    (device, nccl): (&str, bool),
    rank: Threads,
    config: Config,
    crops: &Crops,
    folder: &Folder,
) -> Result<TrainingState, Failure> {
    let device = open_device(device, Precision::F32, None)?;
    let data = TrainingData::new(crops, &config.model.channels, &crops.splits(), None)?;
    let data = data.normalized(config.model.normalization);
    let placement = Placement::on(device).with_team(Arc::new(rank));
    let placement = placement.with_nccl(nccl);
    let mut trainer = Trainer::start_at(&folder.0, config, &data, &placement)?;
    trainer.run(&mut Quiet::default())?;
    Ok(trainer.state().clone())
}

fn measures(state: &TrainingState) -> Result<Found, Failure> {
    let mut found = Found::new();
    for row in &state.history.rows {
        for (split, measures) in [("train", &row.train), ("val", &row.validation)] {
            for (name, value) in measures.iter() {
                let value = Tensor::new(value as f32, &Device::Cpu)?;
                found.push((format!("{name}, {split}"), value));
            }
        }
    }
    Ok(found)
}

/// The tensors of a file in one for each kind, which is a part of their names. One is too small a measure: gradients of offsets that the
/// next normalisation takes out again are nothing but rounding.
fn tensors(folder: &Folder, file: &str, kinds: &[&str]) -> Result<Found, Failure> {
    let read = Weights::read(&folder.0.join(file))?;
    let mut named: Vec<_> = read.tensors().iter().collect();
    named.sort_by_key(|(name, _)| name.as_str());
    named.retain(|(name, _)| !name.ends_with("num_batches_tracked"));
    let mut found = Found::new();
    for kind in kinds {
        let of_kind = named.extract_if(.., |(name, _)| name.contains(kind));
        let values: Vec<Tensor> = of_kind
            .map(|(_, t)| t.flatten_all()?.to_dtype(candle_core::DType::F32))
            .collect::<candle_core::Result<_>>()?;
        found.push((format!("{file} {kind}"), Tensor::cat(&values, 0)?));
    }
    Ok(found)
}
