//! `train`: crops in, a model folder out.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, HasCommon};
use cytoself_examples::model::train::{TrainArgs, train};

/// Trains the network on crops: Adam, plateau schedule, early stop, a checkpoint after each epoch.
#[derive(Parser)]
#[command(
    name = "train",
    after_help = "Example:\n  train --data crops.zarr --preset small --channels pro,nucdist --out model"
)]
struct Args {
    #[command(flatten)]
    train: TrainArgs,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(|args: Args| train(&args.train, &args.common).map(|_| ()))
}
