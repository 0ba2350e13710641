//! `embed`: a model folder and crops in, an embedding store out.

use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, HasCommon};
use cytoself_examples::model::embed::{EmbedArgs, embed};

/// Turns crops into representations with a trained model: an AnnData store on Zarr.
#[derive(Parser)]
#[command(
    name = "embed",
    after_help = "Example:\n  embed --model model --data crops.zarr --out embeddings.zarr --outputs vqind2,vqvec2,vqindhist1 --split test"
)]
struct Args {
    #[command(flatten)]
    embed: EmbedArgs,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(|args: Args| embed(&args.embed, &args.common).map(|_| ()))
}
