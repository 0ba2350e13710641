//! `history`: curves of several trainings in one picture.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, HasCommon};
use cytoself_examples::history::{HistoryArgs, history};

/// Draws columns of several trainings' history.csv over the epochs, a panel per column with a line per training.
#[derive(Parser)]
#[command(
    name = "history",
    after_help = "Example:\n  history --models model model-no-split --names split,\"no split\" --columns val_perplexity1,val_perplexity2 --output perplexity.png"
)]
struct Args {
    #[command(flatten)]
    history: HistoryArgs,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(|args: Args| history(&args.history, &args.common))
}
