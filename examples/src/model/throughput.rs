//! How fast a network trains and embeds.

use std::time::Instant;

use candle_core::{Device, Tensor};
use clap::{Args, ValueEnum};
use cytoself_model::ops::{self, Adam, AdamParams};
use cytoself_model::{Config, Embedder, LossWeights, Model, ModelError, Noise, OutputName, Pass};
use ndarray::Array4;
use serde::Serialize;

use super::device::DeviceArgs;
use super::memory::peak;
use crate::cli::{Common, Failure};
use crate::progress::interrupted;

/// What to time.
#[derive(Debug, Clone, Args)]
pub struct ThroughputArgs {
    /// A training step (forward, loss, backward, AdamW), or the embedding of a batch into vqvec2
    #[arg(long, value_enum)]
    pub what: What,
    /// Network: paper, small, torch-readme, torch-split9, torch-tfdec or torch-micro
    #[arg(long, value_name = "P", default_value = "paper")]
    pub preset: String,
    /// Crops in a batch
    #[arg(long, value_name = "B", default_value_t = 32)]
    pub batch_size: usize,
    /// Steps to time, after one that is not counted, or two with --cuda-graph
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub steps: usize,
    /// Device and precision
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Proteins that the heads tell apart
    #[arg(long, value_name = "N", default_value_t = 1311)]
    pub classes: usize,
    /// Print the network's complete settings instead, as TOML
    #[arg(long)]
    pub settings: bool,
}

/// The complete settings of the network that would be timed.
///
/// # Errors
/// - there is no such preset.
pub fn settings(args: &ThroughputArgs) -> Result<String, Failure> {
    let mut config = Config::preset(&args.preset)?;
    config.model.classes = args.classes;
    Ok(config.to_toml())
}

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Training steps.
    Train,
    /// Embedding.
    Embed,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Throughput {
    /// Crops per second of wall time, by the median step.
    pub images_per_second: f64,
    /// Wall time of each step.
    pub step_seconds: Vec<f64>,
    /// Time of all processors over the steps; `None` where the system does not tell.
    pub cpu_seconds: Option<f64>,
    /// Largest memory of the process; `None` where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
}

/// Times steps on random crops of the network's size.
///
/// # Errors
/// - an argument is impossible here;
/// - the user interrupts.
pub fn throughput(args: &ThroughputArgs, common: &Common) -> Result<Throughput, Failure> {
    for (flag, value) in [
        ("--batch-size", args.batch_size),
        ("--steps", args.steps),
        ("--classes", args.classes),
    ] {
        if value == 0 {
            return Err(Failure::input(format!("{flag} 0: expected at least 1")));
        }
    }
    let mut config = Config::preset(&args.preset)?;
    config.model.classes = args.classes;
    let device = args.device.open()?;
    let model = Model::new(&config.model, common.seed, &device)?;
    let (images, labels) = random_batch(&config, args, common.seed)?;
    match args.what {
        What::Train => {
            let mut adam = adam(&model, &config)?;
            let images = Tensor::from_vec(images.iter().copied().collect(), images.dim(), &device)?;
            let labels = Tensor::new(labels, &device)?;
            if args.device.cuda_graph {
                return replayed_steps(args, common, (model, adam), [&images, &labels]);
            }
            measure(args, &device, |step| {
                train_step(&model, &mut adam, &images, &labels, common.seed, step)
            })
        }
        What::Embed => {
            let mut embedder = Embedder::new(&model)?;
            if args.device.cuda_graph {
                let told = common.clone();
                embedder = embedder.with_cuda_graph(move |text| told.say(text))?;
            }
            let output: OutputName = "vqvec2".parse()?;
            measure(args, &device, |_| {
                embedder.embed(images.view(), &[output]).map(|_| ())
            })
        }
    }
}

/// Crops and labels from a linear congruential generator: their content does not matter, as long as it is not constant.
fn random_batch(
    config: &Config,
    args: &ThroughputArgs,
    seed: u64,
) -> Result<(Array4<f32>, Vec<u32>), Failure> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u32
    };
    let [h, w] = config.model.input;
    let shape = (args.batch_size, config.model.channels.len(), h, w);
    let images = Array4::from_shape_simple_fn(shape, || next() as f32 / (1u32 << 24) as f32);
    let labels = (0..args.batch_size).map(|_| next() % args.classes as u32);
    Ok((images, labels.collect()))
}

fn adam(model: &Model, config: &Config) -> Result<Adam, Failure> {
    let t = &config.training;
    let weights = model.parameters().weights();
    let named = weights.map(|p| (p.name.clone(), p.value.clone())).collect();
    let params = AdamParams {
        learning_rate: t.learning_rate,
        beta1: t.beta1,
        beta2: t.beta2,
        eps: t.epsilon,
        weight_decay: 0.01,
    };
    Ok(Adam::new(named, params)?)
}

fn train_step(
    model: &Model,
    adam: &mut Adam,
    images: &Tensor,
    labels: &Tensor,
    seed: u64,
    step: u64,
) -> Result<(), ModelError> {
    let pass = Pass::train(Noise { seed, step });
    let ((loss, measures), tape) = ops::record(|| {
        let forward = model.forward(images, &pass)?;
        model.loss_unread(&forward, images, labels, &LossWeights::new(0.0125))
    })?;
    adam.step(&tape.backward(&loss)?)?;
    // As the trainer, when all of the step is under way.
    measures.read()?;
    Ok(())
}

/// Steps that a GPU replays as a CUDA graph.
#[cfg(feature = "candle-cuda")]
fn replayed_steps(
    args: &ThroughputArgs,
    common: &Common,
    (model, adam): (Model, Adam),
    [images, labels]: [&Tensor; 2],
) -> Result<Throughput, Failure> {
    let device = model.device().clone();
    let mut steps = cytoself_model::GraphSteps::new(model, adam)?;
    measure(args, &device, |step| {
        let noise = Noise {
            seed: common.seed,
            step,
        };
        steps.step(images, labels, &LossWeights::new(0.0125), noise)?;
        if let Some(text) = steps.refused() {
            common.say(text);
        }
        Ok(())
    })
}

#[cfg(not(feature = "candle-cuda"))]
fn replayed_steps(
    _: &ThroughputArgs,
    _: &Common,
    _: (Model, Adam),
    _: [&Tensor; 2],
) -> Result<Throughput, Failure> {
    Err(Failure::input(
        "--cuda-graph: this program was built without CUDA",
    ))
}

fn measure(
    args: &ThroughputArgs,
    device: &Device,
    mut step: impl FnMut(u64) -> Result<(), ModelError>,
) -> Result<Throughput, Failure> {
    let mut step = |index| {
        step(index)?;
        // What a GPU does it does after the call has returned.
        device.synchronize().map_err(ModelError::from)
    };
    // The second step is the one that a graph is captured in.
    let first = if args.device.cuda_graph { 2 } else { 1 };
    (0..first).try_for_each(&mut step)?;
    let before = cpu_seconds();
    let mut step_seconds = Vec::with_capacity(args.steps);
    for index in first..first + args.steps as u64 {
        if interrupted() {
            return Err(Failure::Interrupted("nothing was written".into()));
        }
        let begin = Instant::now();
        step(index)?;
        step_seconds.push(begin.elapsed().as_secs_f64());
    }
    let mut sorted = step_seconds.clone();
    sorted.sort_by(f64::total_cmp);
    Ok(Throughput {
        images_per_second: args.batch_size as f64 / sorted[sorted.len() / 2],
        step_seconds,
        cpu_seconds: before.and_then(|b| Some(cpu_seconds()? - b)),
        peak_rss_bytes: peak(),
    })
}

/// Time of all threads of this process so far, where the system tells.
fn cpu_seconds() -> Option<f64> {
    // `utime` and `stime`, fields 14 and 15 of proc(5), in ticks of 1/100 s on every Linux that Rust runs on.
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let rest = text.rsplit_once(')')?.1;
    let ticks: Vec<u64> = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse().ok())
        .collect();
    (ticks.len() == 2).then(|| ticks.iter().sum::<u64>() as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(what: What) -> ThroughputArgs {
        ThroughputArgs {
            what,
            preset: "torch-micro".into(),
            batch_size: 2,
            steps: 3,
            device: DeviceArgs::default(),
            classes: 5,
            settings: false,
        }
    }

    #[test]
    fn both_kinds_are_timed() {
        let common = Common {
            threads: None,
            seed: 1,
            quiet: true,
            overwrite: false,
        };
        for what in [What::Train, What::Embed] {
            let found = throughput(&arguments(what), &common).unwrap();
            assert_eq!(found.step_seconds.len(), 3);
            assert!(found.images_per_second > 0.0);
        }
        let mut wrong = arguments(What::Train);
        wrong.device.precision = "bf16".into();
        let error = throughput(&wrong, &common).unwrap_err();
        assert!(matches!(error, Failure::Input(m) if m.contains("--precision bf16")));
    }
}
