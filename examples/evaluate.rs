//! Scores embeddings against ground truth, with confidence intervals, beside simple baselines.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, HasCommon};
use cytoself_examples::evaluation;

/// Score embeddings against ground truth.
#[derive(Debug, Parser)]
#[command(
    name = "evaluate",
    version,
    after_help = "Example:\n  cargo run --release --example evaluate -- --embeddings embeddings.zarr --column localization --split test --out evaluation"
)]
struct Cli {
    #[command(flatten)]
    evaluation: evaluation::Arguments,
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
        let report = evaluation::run(&arguments.evaluation, &arguments.common)?;
        print!("{}", report.to_table());
        arguments.common.say(format!(
            "seed {} -> {}",
            arguments.common.seed,
            arguments.evaluation.out.display()
        ));
        Ok(())
    })
}
