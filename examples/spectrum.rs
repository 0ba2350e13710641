//! Feature spectra: code histograms, their correlation, tree, order and clusters, families and queries.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, HasCommon};
use cytoself_examples::spectra;

/// Compute feature spectra of proteins and localisation families.
#[derive(Debug, Parser)]
#[command(
    name = "spectrum",
    version,
    after_help = "Example:\n  cargo run --release --example spectrum -- --embeddings embeddings.zarr --out spectrum --query FAM241A"
)]
struct Cli {
    #[command(flatten)]
    spectra: spectra::Arguments,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Cli {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(|arguments: Cli| {
        let found = spectra::run(&arguments.spectra, &arguments.common)?;
        arguments.common.say(format!(
            "{} proteins, {} codes in {} clusters, {} families -> {}",
            found.proteins.len(),
            found.biclustering.order.len(),
            found.biclustering.segments().len(),
            found.families.names.len(),
            arguments.spectra.out.display()
        ));
        if let Some(line) = found.assignments.describe() {
            println!("{line}");
        }
        Ok(())
    })
}
