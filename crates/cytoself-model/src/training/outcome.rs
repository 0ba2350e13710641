//! What training tells its caller.

use std::ops::ControlFlow;
use std::time::Duration;

use super::history::HistoryRow;
use super::schedule::Verdict;
use crate::metrics::Metrics;

/// Follows a training and may stop it.
pub trait TrainingObserver {
    /// A batch is done; `batch` of `batches` in this epoch. Break stops the training at the last checkpoint.
    fn batch(&mut self, batch: u64, batches: u64) -> ControlFlow<()>;

    /// Something that the user should hear, in one line; nothing is lost by it.
    fn notice(&mut self, text: &str) {
        let _ = text;
    }

    /// An epoch is done and its checkpoint is on disk.
    fn epoch(&mut self, report: &EpochReport<'_>);
}

/// An epoch that is done.
#[derive(Debug)]
pub struct EpochReport<'a> {
    /// Its row of the history.
    pub row: &'a HistoryRow,
    /// What it led to.
    pub verdict: Verdict,
    /// Time of the training pass.
    pub train_time: Duration,
    /// Time that the steps spent waiting for the loader.
    pub wait_time: Duration,
    /// Time that the sums of gradients over ranks took, and waiting for slower ranks in them; most of it beside the backward pass.
    pub exchange_time: Duration,
    /// The part of it that the steps waited for.
    pub exchange_wait: Duration,
    /// Time of the validation pass.
    pub validation_time: Duration,
    /// Crops trained on.
    pub crops: usize,
}

/// Why a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All epochs are done.
    Complete,
    /// The validation loss made no progress any more.
    EarlyStop,
}

/// A training that ended.
#[derive(Debug, Clone)]
pub struct TrainingOutcome {
    /// Why.
    pub ending: Ending,
    /// Epochs done, those before a resume too.
    pub epochs: usize,
    /// The epoch with the lowest validation loss.
    pub best_epoch: usize,
    /// Its validation loss.
    pub best_loss: f64,
    /// Measures of the test crops with the best weights; none without test crops.
    pub test: Option<Metrics>,
}
