//! `convert`: crops, embeddings and weights from one format into another.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, HasCommon};
use cytoself_examples::convert::{ConvertArgs, convert};

/// Converts crops (cytoself's .npy and .csv files <-> crop store), embeddings (-> .npy, .parquet, .csv) and weights of PyTorch or TensorFlow (-> model folder).
#[derive(Parser)]
#[command(
    name = "convert",
    after_help = "Example:\n  convert --from cytoself_data --to crops.zarr\n  convert --from embeddings.zarr --to vqvec2.npy --array vqvec2\n  convert --from model_protein_nucleus.h5 --preset paper --to model"
)]
struct Args {
    #[command(flatten)]
    convert: ConvertArgs,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(|args: Args| convert(&args.convert, &args.common))
}
