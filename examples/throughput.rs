//! `throughput`: how fast a network trains and embeds on this machine, on random crops.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, HasCommon};
use cytoself_examples::model::throughput::{ThroughputArgs, settings, throughput};

/// Times training steps or embedding on random crops and prints JSON: `images_per_second`, `step_seconds`, `cpu_seconds`,
/// `peak_rss_bytes`.
#[derive(Parser)]
#[command(
    name = "throughput",
    after_help = "Example:\n  throughput --what train --preset torch-split9 --batch-size 16 --steps 5"
)]
struct Args {
    #[command(flatten)]
    throughput: ThroughputArgs,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(|args: Args| {
        if args.throughput.settings {
            print!("{}", settings(&args.throughput)?);
            return Ok(());
        }
        let report = throughput(&args.throughput, &args.common)?;
        println!("{}", serde_json::to_string(&report)?);
        Ok(())
    })
}
