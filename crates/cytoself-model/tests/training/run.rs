//! A training on the toy, and its end on demand.

use std::ops::ControlFlow;

use cytoself_model::{EpochReport, TrainingData, TrainingObserver};

use crate::toy::Toy;

/// Stops after a number of batches.
pub struct Stop(pub Option<u64>);

impl TrainingObserver for Stop {
    fn batch(&mut self, _batch: u64, _batches: u64) -> ControlFlow<()> {
        match &mut self.0 {
            Some(0) => return ControlFlow::Break(()),
            Some(left) => *left -= 1,
            None => {}
        }
        ControlFlow::Continue(())
    }

    fn epoch(&mut self, _report: &EpochReport<'_>) {}
}

/// Both channels of the toy in its own split.
pub fn data(toy: &Toy) -> TrainingData<'_> {
    let channels = ["pro", "nuc"].map(String::from);
    TrainingData::new(toy, &channels, &toy.splits(), None).unwrap()
}
