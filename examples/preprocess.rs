//! `preprocess`: fields of view to crops around nuclei.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli;
use cytoself_examples::preprocess::{Options, run};

fn main() -> ExitCode {
    cli::run::<Arguments>(|arguments| run(&arguments.options))
}

/// Cut crops around the nuclei of many fields.
///
/// Projects each field of the manifest over z, averages 2 x 2 pixels, finds the nuclei, and writes 100 x 100 crops of
/// protein, DNA and signed distance to a crop store with a table that leads back to the field. A field that cannot be
/// used is a row of failures.csv; nothing else stops for it.
#[derive(Debug, Parser)]
#[command(
    name = "preprocess",
    after_help = "Example:\n  cargo run --release --example preprocess -- --manifest fields/manifest.csv --out crops.zarr"
)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

impl cli::HasCommon for Arguments {
    fn common(&self) -> &cli::Common {
        &self.options.common
    }
}
