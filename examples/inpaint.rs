//! `inpaint`: paired cell inpainting, the baseline of the paper's comparison.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, HasCommon};
use cytoself_examples::inpainting;

/// Trains paired cell inpainting (Lu et al. 2019) on pairs of crops of one protein and field, and embeds with it.
///
/// The features conv3, conv4 and conv5 go into embeddings.zarr in --out, which `evaluate --beside` puts into its table.
#[derive(Debug, Parser)]
#[command(
    name = "inpaint",
    version,
    after_help = "Example:\n  cargo run --release --example inpaint -- --data crops.zarr --width 0.25 --seconds 600 --out inpainting"
)]
struct Cli {
    #[command(flatten)]
    inpainting: inpainting::Arguments,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Cli {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(|arguments: Cli| inpainting::run(&arguments.inpainting, &arguments.common))
}
