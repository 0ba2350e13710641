//! Joining the shards of a stage into one store.

mod records;

use std::path::{Path, PathBuf};

use clap::Args;
use cytoself_io::{merge_crop_stores, merge_embeddings};

use crate::cli::{Common, Failure};
use crate::output::Output;
use crate::progress::Progress;
use records::Records;

/// Which stores to join.
#[derive(Debug, Clone, Args)]
pub struct MergeArgs {
    /// Crop stores, or embedding stores, in any order
    #[arg(value_name = "STORE", required = true)]
    pub inputs: Vec<PathBuf>,
    /// Store to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Join what is there, even if shards of a run are missing
    #[arg(long)]
    pub partial: bool,
}

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crops,
    Embeddings,
}

/// Joins stores of one kind; returns the number of crops.
///
/// # Errors
/// - an input is no store, or the inputs are of different kinds or layouts;
/// - a shard of a run is missing, unless `partial` is set, or a crop occurs twice;
/// - the output exists or cannot be written, or the user interrupts: nothing is kept.
pub fn merge(args: &MergeArgs, common: &Common) -> Result<usize, Failure> {
    let kind = kind_of_all(&args.inputs)?;
    let records = Records::read(&args.inputs)?;
    if !args.partial {
        records.check_complete()?;
    }
    let output = Output::folder(&args.out, common.overwrite)?;
    let progress = Progress::new("crops", 0, common.quiet);
    let mut report = |done, total| progress.update_of(done, total);
    let crops = match kind {
        Kind::Crops => merge_crop_stores(&args.inputs, output.path(), &mut report),
        Kind::Embeddings => merge_embeddings(&args.inputs, output.path(), &mut report),
    }
    .map_err(|e| kept_nothing(e.into()))?;
    drop(progress);
    if kind == Kind::Crops {
        records.write(output.path())?;
    }
    output.commit()?;
    common.say(format!(
        "{}: {crops} crops from {} stores",
        args.out.display(),
        args.inputs.len()
    ));
    Ok(crops)
}

fn kept_nothing(failure: Failure) -> Failure {
    match failure {
        Failure::Interrupted(_) => Failure::Interrupted(
            "nothing was written; the inputs are as they were, run the same command again".into(),
        ),
        other => other,
    }
}

fn kind_of_all(inputs: &[PathBuf]) -> Result<Kind, Failure> {
    let mut first: Option<(&PathBuf, Kind)> = None;
    for path in inputs {
        let kind = kind_of(path)?;
        match first {
            Some((other, expected)) if expected != kind => {
                return Err(Failure::input(format!(
                    "{}: expected {}, as in {}, found {}; join stores of one kind",
                    path.display(),
                    expected.name(),
                    other.display(),
                    kind.name()
                )));
            }
            _ => first = first.or(Some((path, kind))),
        }
    }
    first.map(|(_, kind)| kind).ok_or_else(|| {
        Failure::input("expected at least one store to join; name the shards after the flags")
    })
}

fn kind_of(path: &Path) -> Result<Kind, Failure> {
    let metadata = path.join("zarr.json");
    let text = std::fs::read_to_string(&metadata).map_err(|e| {
        let hint = "a store is a folder that preprocess or embed wrote";
        match Failure::from(e).context(metadata.display()) {
            Failure::Input(text) => Failure::Input(format!("{text}; {hint}")),
            other => other,
        }
    })?;
    let root: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| Failure::from(e).context(metadata.display()))?;
    Ok(match &root["attributes"]["encoding-type"] {
        serde_json::Value::String(s) if s == "anndata" => Kind::Embeddings,
        // What is neither is refused by name when the crop store is opened.
        _ => Kind::Crops,
    })
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Crops => "a crop store",
            Self::Embeddings => "an embedding store",
        }
    }
}
