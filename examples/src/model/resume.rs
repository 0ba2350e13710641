//! Flags given together with `--resume`: they must say what the training was begun with.

use std::path::Path;

use cytoself_io::{CropSource, Split};
use cytoself_model::Config;

use super::train::{TrainArgs, change, resolve};
use super::{held_out, split};
use crate::cli::{Common, Failure};

/// Refuses flags that ask for other settings than those in `config`, which the training in `--out` was begun with. Only the number
/// of epochs may change; a batch that `--max-memory` cut counts as whole.
///
/// # Errors
/// - a setting differs; the error names it and both values;
/// - the configuration file cannot be read.
pub(super) fn check_settings(
    args: &TrainArgs,
    config: &Config,
    source: &dyn CropSource,
    common: &Common,
) -> Result<(), Failure> {
    // A preset, a file or a variant names every setting; other flags name their own.
    let complete = args.preset.is_some() || args.config.is_some() || args.variant.is_some();
    let mut asked = if complete {
        resolve(args, source, common)?
    } else {
        change(args, config.clone(), source, common)?
    };
    if common.seed == Common::SEED && args.config.is_none() {
        asked.training.seed = config.training.seed;
    }
    if args.epochs.is_some() || args.config.is_none() {
        asked.training.epochs = config.training.epochs;
    }
    asked.model.classes = config.model.classes;
    let whole = |c: &Config| c.training.batch * c.training.accumulate;
    if whole(&asked) == whole(config) {
        asked.training.batch = config.training.batch;
        asked.training.accumulate = config.training.accumulate;
    }
    let [kept, wanted] = [config, &asked].map(toml::Value::try_from);
    let (kept, wanted) = (
        kept.map_err(Failure::other)?,
        wanted.map_err(Failure::other)?,
    );
    match difference(&kept, &wanted, String::new()) {
        None => Ok(()),
        Some((setting, kept, wanted)) => Err(refusal(&args.out, &setting, &kept, &wanted)),
    }
}

/// Refuses another split or other proteins held out than the training was begun with.
///
/// # Errors
/// - they differ;
/// - the split's file cannot be read.
pub(super) fn check_crops(
    args: &TrainArgs,
    source: &dyn CropSource,
    splits: &[Split],
    kept: &[String],
    common: &Common,
) -> Result<(), Failure> {
    if let Some(file) = &args.split {
        let (wanted, _) = split::choose(source.table(), Some(file), common)?;
        if let Some(row) = (0..splits.len()).find(|&r| splits[r] != wanted[r]) {
            let place = format!("the split of crop {row}");
            let (a, b) = (splits[row].to_string(), wanted[row].to_string());
            return Err(refusal(&args.out, &place, &a, &b));
        }
    }
    if !args.hold_out.is_empty() {
        let wanted = held_out::check(&args.hold_out, source.table())?;
        if wanted != kept {
            let words = |names: &[String]| match names {
                [] => "no protein".to_string(),
                names => names.join(","),
            };
            return Err(refusal(
                &args.out,
                "what is held out",
                &words(kept),
                &words(&wanted),
            ));
        }
    }
    Ok(())
}

fn refusal(out: &Path, setting: &str, kept: &str, wanted: &str) -> Failure {
    Failure::input(format!(
        "--resume: {setting} is {kept} in the training {}, the flags ask for {wanted}; leave them out to go on with it, or train anew with --overwrite",
        out.display()
    ))
}

/// The first setting in which two configurations differ, and its values.
fn difference(a: &toml::Value, b: &toml::Value, path: String) -> Option<(String, String, String)> {
    use toml::Value::{Array, Table};
    let below = |name: &str| match path.as_str() {
        "" => name.to_string(),
        path => format!("{path}.{name}"),
    };
    match (a, b) {
        (Table(x), Table(y)) => {
            let mut names: Vec<&String> = x.keys().chain(y.keys()).collect();
            // Plain settings first: the preset says more than what follows from it.
            names.sort_by_key(|n| (x.get(*n).is_some_and(|v| v.is_table() || v.is_array()), *n));
            names.dedup();
            names
                .into_iter()
                .find_map(|name| match (x.get(name), y.get(name)) {
                    (Some(a), Some(b)) => difference(a, b, below(name)),
                    (a, b) => Some((below(name), word(a), word(b))),
                })
        }
        (Array(x), Array(y)) if x.len() == y.len() => {
            (0..x.len()).find_map(|i| difference(&x[i], &y[i], format!("{path}[{i}]")))
        }
        (a, b) if a == b => None,
        (a, b) => Some((path, word(Some(a)), word(Some(b)))),
    }
}

fn word(value: Option<&toml::Value>) -> String {
    value.map_or("not set".to_string(), toml::Value::to_string)
}
