//! What the example binaries share: flags, exit codes, progress, atomic outputs, the simulator and the pages.
//!
//! Nothing here is published; the libraries under `crates/` are the product. A binary is a thin `main` over
//! [`cli::run`] and one library call per stage.

pub mod atlas;
pub mod cli;
pub mod convert;
pub mod evaluation;
pub mod interpretation;
pub mod merge;
pub mod model;
pub mod output;
pub mod plot;
pub mod preprocess;
pub mod progress;
pub mod quickstart;
pub mod simulate;
pub mod spectra;

/// The allocator of every binary: pages of large tensors are reused instead of being faulted in again at each step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
