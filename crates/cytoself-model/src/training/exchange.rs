//! The sums of gradients over ranks, bucket by bucket, while the backward pass goes on.

mod after;
mod behind;
mod buckets;
#[cfg(feature = "nccl")]
mod gpus;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::backprop::GradStore;
use candle_core::{Tensor, TensorId};

use self::after::After;
use self::behind::Behind;
use self::buckets::Buckets;
pub(super) use self::buckets::{BUCKET, cut};
use super::fingerprint::{Hash, compare};
use super::placement::Placement;
use super::ranks::Ranks;
use crate::ModelError;
use crate::parameters::Parameters;

/// Sums over ranks that GPUs take among themselves.
pub(super) trait SumOnGpus: Send + Sync {
    /// Replaces the values of `values` (f64, on this rank's GPU) by their sums over all ranks; whatever reads them on the GPU waits.
    fn sum(&self, values: &Tensor) -> candle_core::Result<()>;
}

/// How buckets are summed over ranks. Every rank begins the same ones in the same order.
pub(super) trait BucketSums: Send {
    /// Takes a bucket whose gradients are final; need not wait for its sums.
    fn begin(&mut self, bucket: Vec<Tensor>) -> Result<(), ModelError>;

    /// The sums of all buckets begun since the last call, in their order.
    fn finish(&mut self) -> Result<Vec<Vec<Tensor>>, ModelError>;

    /// What the sums took that were collected since the last call; of those on GPUs, which it waits for, as the GPU has it.
    fn time(&mut self) -> ExchangeTime;

    /// The same ranks for other sums on the GPUs, which are asked for in the same order on all ranks, buckets included.
    fn on_gpus(&self) -> Option<Arc<dyn SumOnGpus>> {
        None
    }
}

/// What the sums over ranks took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ExchangeTime {
    /// All of it, and waiting for slower ranks.
    pub(super) taken: Duration,
    /// What the backward pass did not hide.
    pub(super) waited: Duration,
}

/// The sums of gradients over the ranks of a training.
pub(super) struct Exchange {
    ranks: Ranks,
    sums: Box<dyn BucketSums>,
    /// The order of gradients that all ranks were found to have.
    agreed: Option<String>,
    /// What this thread waited for since it was last asked.
    waited: Duration,
}

impl Exchange {
    /// Sums that go on beside the backward pass if `placement` wants it and the ranks can, else after it; to the same bits.
    ///
    /// # Errors
    /// - [`ModelError::Inconsistent`]: the ranks would sum in different ways;
    /// - [`ModelError::Device`]: two ranks have the same GPU, or NCCL cannot join them.
    pub(super) fn new(ranks: Ranks, placement: &Placement) -> Result<Self, ModelError> {
        let way = match placement.sums_between_gpus() {
            true => "from GPU to GPU",
            false => "through the processor",
        };
        let item = ("way of summing gradients".to_string(), way.to_string());
        compare(ranks.team(), &[item])?;
        let sums = sums(&ranks, placement)?;
        Ok(Self {
            ranks,
            sums,
            agreed: None,
            waited: Duration::ZERO,
        })
    }

    /// Where sums are taken by the GPUs.
    pub(super) fn on_gpus(&self) -> Option<Arc<dyn SumOnGpus>> {
        self.sums.on_gpus()
    }

    /// What the sums took since the last call.
    pub(super) fn time(&mut self) -> ExchangeTime {
        let host = std::mem::take(&mut self.waited);
        let ExchangeTime { taken, waited } = self.sums.time();
        ExchangeTime {
            taken,
            waited: waited + host,
        }
    }

    /// Ready for one backward pass that finishes the gradients of `variables` in this order.
    ///
    /// # Errors
    /// - [`ModelError::Inconsistent`]: the ranks have different orders.
    pub(super) fn pass(
        &mut self,
        variables: Vec<Tensor>,
        parameters: &Parameters,
    ) -> Result<Pass<'_>, ModelError> {
        let order = order(&variables, parameters);
        if self.agreed.as_ref() != Some(&order) {
            let item = ("order of the gradients".to_string(), order.clone());
            compare(self.ranks.team(), &[item])?;
            self.agreed = Some(order);
        }
        Ok(Pass {
            buckets: Buckets::new(variables),
            exchange: self,
        })
    }
}

fn sums(ranks: &Ranks, placement: &Placement) -> Result<Box<dyn BucketSums>, ModelError> {
    #[cfg(feature = "nccl")]
    if placement.sums_between_gpus() {
        return gpus::join(ranks.team(), placement.device(), placement.overlapped());
    }
    let beside = ranks.team().beside().filter(|_| placement.overlapped());
    Ok(match beside {
        Some(team) => Box::new(Behind::start(team)?),
        None => Box::new(After::new(ranks.clone())),
    })
}

/// The names of variables in their order, in a few digits.
fn order(variables: &[Tensor], parameters: &Parameters) -> String {
    let names: HashMap<TensorId, &str> = parameters
        .weights()
        .map(|p| (p.value.id(), p.name.as_str()))
        .collect();
    let mut hash = Hash::default();
    for variable in variables {
        hash.add(names.get(&variable.id()).unwrap_or(&"?").as_bytes());
        hash.add(b"\n");
    }
    hash.text()
}

/// The exchange during one backward pass.
pub(super) struct Pass<'a> {
    exchange: &'a mut Exchange,
    buckets: Buckets,
}

impl Pass<'_> {
    /// Takes a gradient that is final; sends off what is full by it.
    pub(super) fn add(&mut self, variable: &Tensor, gradient: Tensor) -> Result<(), ModelError> {
        self.buckets.put(variable, gradient)?;
        while let Some(bucket) = self.buckets.next_full() {
            self.exchange.sums.begin(bucket)?;
        }
        Ok(())
    }

    /// The backward pass is over: the sums of its gradients into `store`. A variable without gradient on this rank gets none, and
    /// counts as zero where another rank has one.
    pub(super) fn finish(mut self, store: &mut GradStore) -> Result<(), ModelError> {
        let start = Instant::now();
        while let Some(bucket) = self.buckets.next_partial()? {
            self.exchange.sums.begin(bucket)?;
        }
        let sums = self.exchange.sums.finish()?;
        self.exchange.waited += start.elapsed();
        for (variable, sum) in self.buckets.present().zip(sums.into_iter().flatten()) {
            if let Some(variable) = variable {
                store.insert(variable, sum);
            }
        }
        Ok(())
    }
}
