//! Buckets that are summed by a thread of their own, behind the backward pass.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use candle_core::Tensor;

use super::{BucketSums, ExchangeTime};
use crate::ModelError;
use crate::training::ranks::sum_tensors;
use crate::training::team::Collectives;

/// The sums of a bucket and the time that they took.
type Done = (Result<Vec<Tensor>, ModelError>, Duration);

/// A thread that sums buckets in the order in which they come.
pub(super) struct Behind {
    /// None when the thread is to end.
    buckets: Option<Sender<Vec<Tensor>>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    /// Buckets whose sums have not been collected.
    open: usize,
    taken: Duration,
    rank: usize,
}

impl Behind {
    /// Starts the thread; `team` is its alone.
    pub(super) fn start(team: Arc<dyn Collectives>) -> Result<Self, ModelError> {
        let (buckets, coming) = channel::<Vec<Tensor>>();
        let (sums, done) = channel();
        let rank = team.rank();
        let work = move || {
            for bucket in coming {
                let start = Instant::now();
                let sum = sum_tensors(team.as_ref(), &bucket, 1.0);
                let failed = sum.is_err();
                // Nobody waits for it any more where the training has ended.
                let heard = sums.send((sum, start.elapsed())).is_ok();
                if failed || !heard {
                    break;
                }
            }
        };
        let thread = Builder::new().name("gradients".to_string()).spawn(work);
        Ok(Self {
            buckets: Some(buckets),
            done,
            thread: Some(thread.map_err(candle_core::Error::from)?),
            open: 0,
            taken: Duration::ZERO,
            rank,
        })
    }

    fn ended(&self) -> ModelError {
        ModelError::Lost {
            rank: self.rank,
            reason: "its thread that sums the gradients has ended".to_string(),
        }
    }

    /// The thread's next answer.
    fn collect(&mut self) -> Result<Vec<Tensor>, ModelError> {
        let (sum, taken) = self.done.recv().map_err(|_| self.ended())?;
        self.open -= 1;
        self.taken += taken;
        sum
    }
}

impl BucketSums for Behind {
    fn begin(&mut self, bucket: Vec<Tensor>) -> Result<(), ModelError> {
        let sent = self
            .buckets
            .as_ref()
            .is_some_and(|b| b.send(bucket).is_ok());
        if sent {
            self.open += 1;
            return Ok(());
        }
        // The thread ends early only after an error, which is among its answers.
        self.finish()?;
        Err(self.ended())
    }

    fn finish(&mut self) -> Result<Vec<Vec<Tensor>>, ModelError> {
        (0..self.open).map(|_| self.collect()).collect()
    }

    fn time(&mut self) -> ExchangeTime {
        ExchangeTime {
            taken: std::mem::take(&mut self.taken),
            waited: Duration::ZERO,
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.buckets = None;
        // In the middle of a sum it may wait for ranks that wait for this one: it ends when they learn that this one has gone.
        if self.open == 0
            && let Some(thread) = self.thread.take()
        {
            // Its only panic would be one of candle's, which ends the training by the missing answer.
            let _ = thread.join();
        }
    }
}
