//! `forward`: one pass of the network over an array, every stage written, for comparison with the PyTorch code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::{Device, Tensor};
use clap::{Parser, ValueEnum};
use cytoself_examples::cli::{self, Common, Failure, HasCommon};
use cytoself_examples::output::Output;
use cytoself_io::npy;
use cytoself_model::ops::{Adam, AdamParams, ConvAlgorithm};
use cytoself_model::{Config, Forward, LossWeights, Metrics, Model, Pass, Weights, save};
use ndarray::ArrayD;

/// Runs the network on an array of images and writes the output of every stage.
#[derive(Parser)]
#[command(
    name = "forward",
    after_help = "Example:\n  forward --weights model.safetensors --preset torch-micro --input x.npy --labels y.npy --variance 0.0125 --output out"
)]
struct Args {
    /// Weights: .safetensors, or a PyTorch state dict (.pt)
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Network: paper, small, torch-readme, torch-split9, torch-tfdec or torch-micro
    #[arg(long, value_name = "P", required_unless_present = "config")]
    preset: Option<String>,
    /// Network: a configuration file, e.g. a model folder's config.toml
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    config: Option<PathBuf>,
    /// Images [n, c, h, w] f32 at network scale
    #[arg(long, value_name = "X.npy")]
    input: PathBuf,
    /// Folder for the stages
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Class of each image, integers [n]; writes losses.json
    #[arg(long, value_name = "Y.npy")]
    labels: Option<PathBuf>,
    /// Divides the reconstruction loss
    #[arg(long, value_name = "V", default_value_t = 1.0)]
    variance: f64,
    /// Batch statistics instead of running ones (dropout and stochastic depth stay off); writes grad_l2.json
    #[arg(long, requires = "labels")]
    train: bool,
    /// Take one optimizer step; writes stepped.safetensors
    #[arg(long, value_enum, requires = "train")]
    step: Option<Step>,
    /// Learning rate of the step
    #[arg(long, value_name = "L", default_value_t = 4e-4)]
    lr: f64,
    /// Algorithm of the 3x3 convolutions
    #[arg(long, value_enum, default_value_t = Algorithm::Gemm)]
    algorithm: Algorithm,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, ValueEnum)]
enum Step {
    Adam,
    Adamw,
}

#[derive(Clone, Copy, ValueEnum)]
enum Algorithm {
    Gemm,
    Winograd,
    Auto,
}

impl HasCommon for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(body)
}

fn body(args: Args) -> Result<(), Failure> {
    let weights = Weights::read(&args.weights)?;
    let mut config = read_config(&args)?.model;
    config.classes = weights.classes().unwrap_or(0);
    let model = Model::with_weights(&config, &weights, &Device::Cpu)?;
    let images = read_images(&args.input)?;
    let labels = args
        .labels
        .as_deref()
        .map(|p| read_labels(p, images.dims()[0], config.classes))
        .transpose()?;
    let output = Output::folder(&args.output, args.common.overwrite)?;
    let algorithm = match args.algorithm {
        Algorithm::Gemm => ConvAlgorithm::Gemm,
        Algorithm::Winograd => ConvAlgorithm::Winograd,
        Algorithm::Auto => ConvAlgorithm::Auto,
    };
    let pass = Pass {
        train: args.train,
        noise: None,
        algorithm,
        first: 0,
    };
    let forward = if args.train {
        model.forward(&images, &pass)?
    } else {
        model.frozen()?.forward(&images, &pass)?
    };
    write_stages(output.path(), &forward)?;
    if let Some(labels) = &labels {
        let (loss, metrics) =
            model.loss(&forward, &images, labels, &LossWeights::new(args.variance))?;
        write_losses(output.path(), &model, &forward, &metrics)?;
        if args.train {
            learn(output.path(), &model, &loss, &args)?;
        }
    }
    output.commit()?;
    args.common.say(format!(
        "{}: {} images",
        args.output.display(),
        images.dims()[0]
    ));
    Ok(())
}

fn read_config(args: &Args) -> Result<Config, Failure> {
    match (&args.preset, &args.config) {
        (Some(preset), _) => Ok(Config::preset(preset)?),
        (None, Some(path)) => {
            let text =
                fs::read_to_string(path).map_err(|e| Failure::from(e).context(path.display()))?;
            Ok(Config::from_toml(&text).map_err(|e| Failure::from(e).context(path.display()))?)
        }
        (None, None) => Err(Failure::input("--preset or --config is needed")),
    }
}

fn read_images(path: &Path) -> Result<Tensor, Failure> {
    let array = npy::read_f32(path)?;
    if array.ndim() != 4 || array.is_empty() {
        let found = array.shape();
        return Err(Failure::input(format!(
            "{}: expected images [n, c, h, w], found shape {found:?}",
            path.display()
        )));
    }
    let shape = array.shape().to_vec();
    let values: Vec<f32> = array.iter().copied().collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

fn read_labels(path: &Path, images: usize, classes: usize) -> Result<Tensor, Failure> {
    let labels = npy::read_i64(path)?;
    if labels.shape() != [images] {
        let found = labels.shape();
        return Err(Failure::input(format!(
            "{}: expected one label for each of {images} images, found shape {found:?}",
            path.display()
        )));
    }
    let checked: Option<Vec<u32>> = labels
        .iter()
        .map(|l| u32::try_from(*l).ok().filter(|l| (*l as usize) < classes))
        .collect();
    let expected = format!(
        "{}: expected labels from 0 to {}, found others",
        path.display(),
        classes.saturating_sub(1)
    );
    Ok(Tensor::new(
        checked.ok_or_else(|| Failure::input(expected))?,
        &Device::Cpu,
    )?)
}

fn write_stages(folder: &Path, forward: &Forward) -> Result<(), Failure> {
    for (level, number) in forward.levels.iter().zip(1..) {
        write(folder, &format!("encoder{number}"), &level.encoded)?;
        write(folder, &format!("vqvec{number}"), level.representation())?;
        if let Some(q) = &level.quantized {
            write(folder, &format!("vqindhist{number}"), &q.histogram)?;
            let indices: Vec<i64> = q
                .indices
                .flatten_all()?
                .to_vec1::<u32>()?
                .into_iter()
                .map(i64::from)
                .collect();
            let indices =
                ArrayD::from_shape_vec(q.indices.dims(), indices).map_err(Failure::other)?;
            npy::write(&folder.join(format!("vqind{number}.npy")), &indices)?;
        }
    }
    let [fc1, fc2] = &forward.logits;
    for (name, tensor) in [
        ("fc1", fc1),
        ("fc2", fc2),
        ("decoder2", &forward.inner),
        ("recon", &forward.reconstruction),
    ] {
        if let Some(tensor) = tensor {
            write(folder, name, tensor)?;
        }
    }
    Ok(())
}

fn write(folder: &Path, name: &str, tensor: &Tensor) -> Result<(), Failure> {
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    let array = ArrayD::from_shape_vec(tensor.dims(), values).map_err(Failure::other)?;
    Ok(npy::write(&folder.join(format!("{name}.npy")), &array)?)
}

fn write_losses(
    folder: &Path,
    model: &Model,
    forward: &Forward,
    metrics: &Metrics,
) -> Result<(), Failure> {
    let mut losses: BTreeMap<String, f64> = metrics
        .iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect();
    for number in 1..=2 {
        let value = model.softmax_loss(&forward.levels[number - 1], number)?;
        losses.insert(format!("vq{number}_softmax_loss"), value);
    }
    write_json(&folder.join("losses.json"), &losses)
}

fn write_json(path: &Path, values: &BTreeMap<String, f64>) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(values).map_err(Failure::other)?;
    fs::write(path, text).map_err(|e| Failure::from(e).context(path.display()))
}

/// Gradients, and the optimizer step if one was asked for.
fn learn(folder: &Path, model: &Model, loss: &Tensor, args: &Args) -> Result<(), Failure> {
    let gradients = loss.backward()?;
    let mut norms = BTreeMap::new();
    for p in model.parameters().weights() {
        if let Some(gradient) = gradients.get(&p.value) {
            let squares: f64 = gradient
                .flatten_all()?
                .to_vec1::<f32>()?
                .iter()
                .map(|g| f64::from(*g).powi(2))
                .sum();
            norms.insert(p.name.clone(), squares.sqrt());
        }
    }
    write_json(&folder.join("grad_l2.json"), &norms)?;
    let params = match args.step {
        None => return Ok(()),
        Some(Step::Adam) => AdamParams::adam(args.lr),
        Some(Step::Adamw) => AdamParams::adam_w(args.lr),
    };
    let named = model
        .parameters()
        .weights()
        .map(|p| (p.name.clone(), p.value.clone()))
        .collect();
    Adam::new(named, params)?.step(&gradients)?;
    let tensors = model
        .parameters()
        .iter()
        .map(|p| (p.name.as_str(), p.value.as_tensor().clone()));
    let note = format!(
        "cytoself {}: one step from {}",
        env!("CARGO_PKG_VERSION"),
        args.weights.display()
    );
    Ok(save(&folder.join("stepped.safetensors"), tensors, &note)?)
}
