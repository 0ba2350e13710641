//! From one file format into another: which conversion, by what the input is and what the output is called.

mod crops;
mod embeddings;
mod parquet;
mod weights;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::cli::{Common, Failure};

/// Arguments of `convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// A crop store, a folder of cytoself's .npy files, an embedding store, or weights of PyTorch (.pt, .safetensors) or of the TensorFlow release (.h5)
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    /// NAME.zarr for a crop store; a folder for cytoself's files or a model; .npy, .parquet or .csv for embeddings
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// Array of the embeddings to write [default: the output's name if the store has it, else vqvec2]
    #[arg(long, value_name = "NAME")]
    array: Option<String>,
    /// Stored type of a crop store's pixels
    #[arg(long, value_enum, default_value = "f32")]
    pixels: Pixels,
    /// Preset that the weights belong to
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    preset: Option<String>,
    /// Configuration (TOML) that the weights belong to
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Protein names, one per line in the order of the labels, for a model
    #[arg(long, value_name = "FILE")]
    proteins: Option<PathBuf>,
}

/// Stored type of pixels.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Pixels {
    /// Exact
    F32,
    /// Half the size
    U16,
}

/// Runs `convert`.
///
/// # Errors
/// - the input cannot be read or is of an unknown kind;
/// - there is no conversion from the input to an output of that name;
/// - the output exists and `--overwrite` is not given, or cannot be written.
pub fn convert(args: &ConvertArgs, common: &Common) -> Result<(), Failure> {
    let from = args.from.as_path();
    match extension(from).as_str() {
        "pt" | "pth" | "chkp" | "ckpt" | "safetensors" | "h5" | "hdf5" => {
            return weights::to_model(args, common);
        }
        _ => {}
    }
    if from.join("zarr.json").is_file() && is_embeddings(from)? {
        return embeddings::convert(args, common);
    }
    match extension(&args.to).as_str() {
        "zarr" => crops::to_store(args, common),
        "" => crops::to_arrays(args, common),
        other => Err(Failure::input(format!(
            "--to {}: crops convert to NAME.zarr (a crop store) or to a folder (cytoself's .npy files), not to .{other}",
            args.to.display()
        ))),
    }
}

fn extension(path: &Path) -> String {
    path.extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default()
}

/// Whether the Zarr store is an embedding store rather than a crop store.
fn is_embeddings(path: &Path) -> Result<bool, Failure> {
    let metadata = path.join("zarr.json");
    let text = std::fs::read_to_string(&metadata)
        .map_err(|e| Failure::from(e).context(metadata.display()))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| Failure::input(e).context(metadata.display()))?;
    Ok(value["attributes"]["encoding-type"] == "anndata")
}
