//! `ablate`: what each component of the network is worth.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::ablation;
use cytoself_examples::cli::{self, Common, HasCommon};

/// Trains variants of the network several times, maps each training several times and scores every map.
///
/// Writes table.csv (mean and standard error), scores.csv (every map), the figure of both scores against each other and
/// aligned maps. Finished trainings and maps are kept, so that the work may be done in parts with --resume.
#[derive(Debug, Parser)]
#[command(
    name = "ablate",
    version,
    after_help = "Example:\n  cargo run --release --example ablate -- --data crops.zarr --complexes fields/complexes.csv --trainings 3 --umaps 3 --epochs 8 --out ablation"
)]
struct Cli {
    #[command(flatten)]
    ablation: ablation::Arguments,
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
        let table = ablation::run(&arguments.ablation, &arguments.common)?;
        print!("{}", table.to_text());
        arguments.common.say(format!(
            "seed {} -> {}",
            arguments.common.seed,
            arguments.ablation.out.display()
        ));
        Ok(())
    })
}
