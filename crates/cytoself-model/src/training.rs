//! Training: data, schedule, checkpoints and the loop.

pub(crate) mod augment;
mod averages;
mod checkpoint;
mod codes;
pub(crate) mod data;
mod events;
mod exchange;
mod fingerprint;
#[cfg(feature = "candle-cuda")]
mod graph;
mod history;
pub(crate) mod loader;
mod memory;
mod outcome;
mod placement;
mod ranks;
pub(crate) mod read_ahead;
mod schedule;
mod share;
mod step;
mod team;
mod trainer;
mod variance;

pub use augment::Symmetry;
pub use checkpoint::{ModelFolder, TrainingState};
pub use data::TrainingData;
pub use events::EventWriter;
pub use fingerprint::check_alike;
#[cfg(feature = "candle-cuda")]
pub use graph::GraphSteps;
pub use history::{History, HistoryRow};
pub use memory::StepMemory;
pub use outcome::{Ending, EpochReport, TrainingObserver, TrainingOutcome};
pub use placement::Placement;
pub use schedule::{Schedule, Verdict};
#[cfg(feature = "mpi")]
pub use team::Mpi;
pub use team::{Alone, Collectives, Threads, agree};
pub use trainer::Trainer;
