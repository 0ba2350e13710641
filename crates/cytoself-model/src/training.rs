//! Training: data, schedule, checkpoints and the loop.

pub(crate) mod augment;
mod averages;
mod checkpoint;
mod codes;
pub(crate) mod data;
mod events;
mod history;
pub(crate) mod loader;
mod memory;
mod outcome;
mod placement;
pub(crate) mod read_ahead;
mod schedule;
mod step;
mod trainer;
mod variance;

pub use checkpoint::{ModelFolder, TrainingState};
pub use data::TrainingData;
pub use events::EventWriter;
pub use history::{History, HistoryRow};
pub use memory::StepMemory;
pub use outcome::{Ending, EpochReport, TrainingObserver, TrainingOutcome};
pub use placement::Placement;
pub use schedule::{Schedule, Verdict};
pub use trainer::Trainer;
