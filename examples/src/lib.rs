//! What the example binaries share: flags, exit codes, progress, atomic outputs, the simulator and the pages.
//!
//! Nothing here is published; the libraries under `crates/` are the product. A binary is a thin `main` over
//! [`cli::run`] and one library call per stage.

pub mod ablation;
pub mod atlas;
pub mod cli;
pub mod convert;
pub mod evaluation;
pub mod history;
pub mod inpainting;
pub mod interpretation;
pub mod merge;
pub mod model;
pub mod output;
pub mod plot;
pub mod points;
pub mod preprocess;
pub mod progress;
pub mod quickstart;
pub mod selection;
pub mod simulate;
pub mod spectra;
pub mod tiles;

/// The allocator of every binary: pages of large tensors are reused instead of being faulted in again at each step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
