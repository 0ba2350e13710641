//! What single codes mean: zeroes them before decoding and writes what disappears.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, HasCommon};
use cytoself_examples::interpretation;

/// Zero codes of a crop's local representation, decode, and map the difference.
#[derive(Debug, Parser)]
#[command(
    name = "interpret",
    version,
    after_help = "Example:\n  cargo run --release --example interpret -- --model model --data crops.zarr --crop 17 --top 3"
)]
struct Cli {
    #[command(flatten)]
    interpretation: interpretation::Arguments,
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
        let found = interpretation::run(&arguments.interpretation, &arguments.common)?;
        for part in &found.parts {
            let change = (&found.reconstruction - &part.without)
                .mapv(f32::abs)
                .mean()
                .unwrap_or(0.0);
            arguments.common.say(format!(
                "{}: {} positions, mean change {change:.5}",
                part.name, part.positions
            ));
        }
        arguments
            .common
            .say(format!("-> {}", arguments.interpretation.out.display()));
        Ok(())
    })
}
