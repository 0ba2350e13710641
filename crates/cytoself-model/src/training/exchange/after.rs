//! Buckets that are summed when the backward pass is over.

use std::time::{Duration, Instant};

use candle_core::Tensor;

use super::{BucketSums, ExchangeTime};
use crate::ModelError;
use crate::training::ranks::{Ranks, sum_tensors};

/// For ranks that can do but one thing at a time.
pub(super) struct After {
    ranks: Ranks,
    waiting: Vec<Vec<Tensor>>,
    taken: Duration,
}

impl After {
    pub(super) fn new(ranks: Ranks) -> Self {
        Self {
            ranks,
            waiting: Vec::new(),
            taken: Duration::ZERO,
        }
    }
}

impl BucketSums for After {
    fn begin(&mut self, bucket: Vec<Tensor>) -> Result<(), ModelError> {
        self.waiting.push(bucket);
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<Vec<Tensor>>, ModelError> {
        let start = Instant::now();
        let buckets = std::mem::take(&mut self.waiting);
        let sums = buckets
            .iter()
            .map(|bucket| sum_tensors(self.ranks.team(), bucket, 1.0))
            .collect();
        self.taken += start.elapsed();
        sums
    }

    fn time(&mut self) -> ExchangeTime {
        ExchangeTime {
            taken: std::mem::take(&mut self.taken),
            waited: Duration::ZERO,
        }
    }
}
