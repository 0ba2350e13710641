//! `quickstart`: the whole way once, from simulated fields to an atlas, with nothing to prepare.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, HasCommon};
use cytoself_examples::quickstart::{Options, run};

/// Simulates fields of cells and runs every stage on them: nuclei, crops, a small VQ-VAE, embeddings, atlas, feature
/// spectra, scores.
///
/// Takes about ten minutes on two cores. The page to open at the end is atlas/atlas.html in the output folder.
#[derive(Debug, Parser)]
#[command(
    name = "quickstart",
    version,
    after_help = "Example:\n  cargo run --release --example quickstart -- --out out/quickstart"
)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(|arguments: Arguments| run(&arguments.options, &arguments.common))
}
