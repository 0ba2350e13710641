//! What the ranks of a training bring together in every step.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Tensor;

use super::exchange::{BUCKET, SumOnGpus, cut};
use super::share::Share;
use super::team::Collectives;
use crate::ModelError;
use crate::metrics::Metrics;
use crate::model::Forward;
use crate::ops::SumOverParts;
use crate::parameters::{Kind, Parameter, Parameters};

/// The ranks, seen from one of them.
#[derive(Debug, Clone)]
pub(super) struct Ranks {
    team: Arc<dyn Collectives>,
}

/// The measures of a batch over all ranks.
pub(super) struct Pooled {
    pub(super) metrics: Metrics,
    /// Uses of each code, per level; none where quantisation is off.
    pub(super) uses: [Option<Vec<u64>>; 2],
    /// Whether a rank wants to stop.
    pub(super) stop: bool,
}

impl Ranks {
    pub(super) fn new(team: Arc<dyn Collectives>) -> Self {
        Self { team }
    }

    pub(super) fn team(&self) -> &dyn Collectives {
        self.team.as_ref()
    }

    /// Whether there is but one.
    pub(super) fn alone(&self) -> bool {
        self.team.size() == 1
    }

    /// Whether this is the one that writes files.
    pub(super) fn writes(&self) -> bool {
        self.team.rank() == 0
    }

    /// What batch normalisation over all ranks needs, which `gpus` sum if they can; none where there is but one rank.
    pub(super) fn statistics(
        &self,
        share: Share,
        gpus: Option<Arc<dyn SumOnGpus>>,
    ) -> Option<Arc<Statistics>> {
        if self.alone() {
            return None;
        }
        Some(Arc::new(Statistics {
            team: Arc::clone(&self.team),
            gpus,
            share,
            failure: Mutex::new(None),
        }))
    }

    /// The measures of the whole batch from those of the shares; `levels` are the codes per level.
    pub(super) fn pool(
        &self,
        metrics: &Metrics,
        forward: Option<&Forward>,
        levels: [usize; 2],
        share: Share,
        stop: bool,
    ) -> Result<Pooled, ModelError> {
        let uses = uses(forward)?;
        if self.alone() {
            return Ok(Pooled {
                metrics: *metrics,
                uses,
                stop,
            });
        }
        // A rank without crops has nothing to add, be it a number or not.
        let count = share.count as f64;
        let weighted = |v: &f64| if share.count > 0 { v * count } else { 0.0 };
        let own = metrics.values().len();
        let mut values = vec![f64::from(u8::from(stop))];
        values.extend(metrics.values().iter().map(weighted));
        for (uses, codes) in uses.iter().zip(levels) {
            match uses {
                Some(uses) if share.count > 0 => values.extend(uses.iter().map(|u| *u as f64)),
                _ => values.resize(values.len() + codes, 0.0),
            }
        }
        self.team.sum_f64(&mut values)?;
        let (means, counts) = values[1..].split_at(own);
        let mut pooled = Metrics::default();
        for ((name, _), sum) in metrics.iter().zip(means) {
            pooled.set(name, sum / share.total.max(1) as f64);
        }
        let (first, second) = counts.split_at(levels[0]);
        let whole = |counts: &[f64]| -> Vec<u64> { counts.iter().map(|c| *c as u64).collect() };
        let both = [whole(first), whole(second)];
        for (uses, number) in both.iter().zip(1..) {
            // The only measure that is no mean over crops.
            let counts = uses.iter().map(|u| u32::try_from(*u).unwrap_or(u32::MAX));
            pooled.set(
                &format!("perplexity{number}"),
                cytoself_vq::perplexity(counts),
            );
        }
        let mut level = both
            .into_iter()
            .zip(&uses)
            .map(|(b, own)| own.as_ref().map(|_| b));
        let uses = [level.next().flatten(), level.next().flatten()];
        Ok(Pooled {
            metrics: pooled,
            uses,
            stop: values[0] > 0.0,
        })
    }

    /// Makes the running statistics the mean of those of all ranks, for where batch statistics are not shared already.
    pub(super) fn average_buffers(
        &self,
        parameters: &Parameters,
        share: Share,
    ) -> Result<(), ModelError> {
        if self.alone() {
            return Ok(());
        }
        let buffers: Vec<&Parameter> = parameters
            .iter()
            .filter(|p| p.kind == Kind::Buffer)
            .collect();
        for bucket in cut(buffers.iter().map(|p| p.value.elem_count()), BUCKET) {
            let bucket = &buffers[bucket];
            let tensors: Vec<Tensor> = bucket.iter().map(|p| p.value.as_tensor().clone()).collect();
            let means = sum_tensors(self.team(), &tensors, share.weight())?;
            for (p, mean) in bucket.iter().zip(means) {
                p.value.set(&mean)?;
            }
        }
        Ok(())
    }

    /// Refuses to go on when the ranks' tensors are not the same to the bit.
    pub(super) fn check_same(&self, parameters: &Parameters) -> Result<(), ModelError> {
        if self.alone() {
            return Ok(());
        }
        let mut hash = super::fingerprint::Hash::default();
        for p in parameters.iter().filter(|p| p.kind != Kind::Counter) {
            for value in p.value.flatten_all()?.to_vec1::<f32>()? {
                hash.add(&value.to_le_bytes());
            }
        }
        super::fingerprint::compare(
            self.team(),
            &[("state of the network".to_string(), hash.text())],
        )
    }
}

/// Sums of `weight * tensor` over ranks.
pub(super) fn sum_tensors(
    team: &dyn Collectives,
    tensors: &[Tensor],
    weight: f64,
) -> Result<Vec<Tensor>, ModelError> {
    let mut values = Vec::with_capacity(tensors.iter().map(Tensor::elem_count).sum());
    for tensor in tensors {
        values.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
    }
    if weight != 1.0 {
        values
            .iter_mut()
            .for_each(|v| *v = (f64::from(*v) * weight) as f32);
    }
    team.sum(&mut values)?;
    let mut rest = values.as_slice();
    tensors
        .iter()
        .map(|tensor| {
            let (own, after) = rest.split_at(tensor.elem_count());
            rest = after;
            Ok(Tensor::from_slice(own, tensor.shape(), tensor.device())?)
        })
        .collect()
}

/// Uses of each code in the share of this rank.
fn uses(forward: Option<&Forward>) -> Result<[Option<Vec<u64>>; 2], ModelError> {
    let mut found = [None, None];
    let Some(forward) = forward else {
        return Ok(found);
    };
    for (found, level) in found.iter_mut().zip(&forward.levels) {
        let Some(quantized) = &level.quantized else {
            continue;
        };
        let counts = quantized.tally.counts()?;
        *found = Some(counts.iter().map(|n| u64::from(*n)).collect());
    }
    Ok(found)
}

/// The sums of batch normalisation, as [`crate::ops`] asks for them.
pub(super) struct Statistics {
    team: Arc<dyn Collectives>,
    gpus: Option<Arc<dyn SumOnGpus>>,
    share: Share,
    /// Why a sum failed: candle's errors carry a text only.
    failure: Mutex<Option<ModelError>>,
}

impl Statistics {
    /// The failure behind `error` if a sum failed, else `error`.
    pub(super) fn cause(&self, error: ModelError) -> ModelError {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().unwrap_or(error)
    }
}

impl SumOverParts for Statistics {
    fn sum(&self, values: &mut [f64]) -> candle_core::Result<()> {
        // The crop of a rank without one does not count.
        if self.share.count == 0 {
            values.fill(0.0);
        }
        self.team.sum_f64(values).map_err(|error| {
            let text = error.to_string();
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            candle_core::Error::Msg(text)
        })
    }

    fn sum_on_gpu(&self, sums: &Tensor, count: f64) -> candle_core::Result<Option<(Tensor, f64)>> {
        let Some(gpus) = &self.gpus else {
            return Ok(None);
        };
        let Share {
            count: crops,
            total,
            ..
        } = self.share;
        let sums = match crops {
            0 => sums.zeros_like()?,
            _ => sums.clone(),
        };
        gpus.sum(&sums)?;
        Ok(Some((sums, count * total as f64 / crops.max(1) as f64)))
    }
}
