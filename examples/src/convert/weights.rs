//! Weights of PyTorch or TensorFlow into a model folder.

use std::fs;

use candle_core::Device;
use cytoself_model::{Config, Model, Weights, save};

use super::ConvertArgs;
use crate::cli::{Common, Failure};
use crate::output::Output;

/// Checks the weights against the network they are said to belong to, and writes `config.toml`, `best.safetensors` and `proteins.txt`.
pub(super) fn to_model(args: &ConvertArgs, common: &Common) -> Result<(), Failure> {
    let weights = Weights::read(&args.from)?;
    let mut config = configuration(args)?;
    if let Some(classes) = weights.classes() {
        config.model.classes = classes;
    }
    config.check()?;
    let proteins = proteins(args, config.model.classes)?;
    let model = Model::with_weights(&config.model, &weights, &Device::Cpu)?;
    let output = Output::folder(&args.to, common.overwrite)?;
    let write = |name: &str, text: String| {
        let path = output.path().join(name);
        fs::write(&path, text).map_err(|e| Failure::from(e).context(path.display()))
    };
    write("config.toml", config.to_toml())?;
    write(
        "proteins.txt",
        proteins.iter().map(|p| format!("{p}\n")).collect(),
    )?;
    let note = serde_json::json!({
        "converted_from": args.from.display().to_string(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let tensors = model
        .parameters()
        .iter()
        .map(|p| (p.name.as_str(), p.value.as_tensor().clone()));
    save(
        &output.path().join("best.safetensors"),
        tensors,
        &note.to_string(),
    )?;
    output.commit()?;
    common.say(format!(
        "{} tensors: {}",
        weights.tensors().len(),
        args.to.display()
    ));
    Ok(())
}

fn configuration(args: &ConvertArgs) -> Result<Config, Failure> {
    match (&args.preset, &args.config) {
        (Some(name), _) => Ok(Config::preset(name)?),
        (None, Some(path)) => {
            let text =
                fs::read_to_string(path).map_err(|e| Failure::from(e).context(path.display()))?;
            Config::from_toml(&text).map_err(|e| Failure::from(e).context(path.display()))
        }
        (None, None) => Err(Failure::input(format!(
            "{}: weights do not say which network they belong to; give --preset ({}) or --config FILE",
            args.from.display(),
            Config::PRESETS.join(", ")
        ))),
    }
}

/// The names given, or numbers in the order of the labels.
fn proteins(args: &ConvertArgs, classes: usize) -> Result<Vec<String>, Failure> {
    let Some(path) = &args.proteins else {
        return Ok((0..classes).map(|c| c.to_string()).collect());
    };
    let text = fs::read_to_string(path).map_err(|e| Failure::from(e).context(path.display()))?;
    let names: Vec<String> = text
        .lines()
        .map(|l| l.trim().to_string())
        .filter(|l| !l.is_empty())
        .collect();
    if names.len() != classes {
        return Err(Failure::input(format!(
            "{}: expected {classes} protein names, as the weights' heads have outputs, found {}",
            path.display(),
            names.len()
        )));
    }
    Ok(names)
}
