//! `merge`: shards of `preprocess` or `embed` into one store.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, HasCommon};
use cytoself_examples::merge::{MergeArgs, merge};

/// Joins the shards of `preprocess` (crop stores) or of `embed` (embedding stores) into one store.
///
/// Crops are sorted by name, so that the result depends neither on the number of shards nor on their order. Shards of
/// `preprocess` bring their fields.csv, failures.csv and done.json along.
#[derive(Debug, Parser)]
#[command(
    name = "merge",
    after_help = "Example:\n  cargo run --release --example merge -- --out crops.zarr shard0.zarr shard1.zarr shard2.zarr"
)]
struct Arguments {
    #[command(flatten)]
    merge: MergeArgs,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(|arguments: Arguments| merge(&arguments.merge, &arguments.common).map(|_| ()))
}
