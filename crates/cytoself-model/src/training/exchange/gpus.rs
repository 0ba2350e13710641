//! Buckets, and sums of batch normalisation, that are summed from GPU to GPU.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Device, Tensor};

use super::{BucketSums, ExchangeTime, SumOnGpus};
use crate::ModelError;
use crate::ops::{World, identity, new_world};
use crate::training::team::{Collectives, agree};

/// Joins the GPUs of all ranks; collective.
///
/// # Errors
/// - two ranks have the same GPU, or NCCL cannot join them.
pub(super) fn join(
    team: &dyn Collectives,
    device: &Device,
    overlapped: bool,
) -> Result<Box<dyn BucketSums>, ModelError> {
    let failed = |error: candle_core::Error| refused(error.to_string());
    let gpu = match device {
        Device::Cuda(gpu) => Ok(gpu),
        _ => Err(refused("a rank without a GPU".to_string())),
    };
    let found = gpu.and_then(|gpu| Ok((gpu, identity(gpu).map_err(failed)?)));
    let (gpu, own) = agree(team, found)?;
    let all = team.gather(own.as_bytes())?;
    if let Some([first, second]) = shared(&all) {
        return Err(refused(format!(
            "ranks {first} and {second} compute on the same GPU, and NCCL sums over GPUs: start as many ranks on a machine as it has GPUs, or sum through the processor (train --no-nccl)"
        )));
    }
    let name = match team.rank() {
        0 => new_world().map_err(failed),
        _ => Ok(Vec::new()),
    };
    let name = team.broadcast(agree(team, name)?)?;
    let place = [team.rank(), team.size()];
    let world = World::join(gpu, &name, place, overlapped).map_err(failed);
    let world = Arc::new(Mutex::new(agree(team, world)?));
    Ok(Box::new(Gpus(world)))
}

fn refused(message: String) -> ModelError {
    ModelError::Device {
        name: "cuda".to_string(),
        message,
    }
}

/// The first two ranks with the same GPU.
fn shared(gpus: &[Vec<u8>]) -> Option<[usize; 2]> {
    let twice = |second: &usize| gpus[..*second].contains(&gpus[*second]);
    let second = (0..gpus.len()).find(twice)?;
    let first = gpus.iter().position(|gpu| *gpu == gpus[second])?;
    Some([first, second])
}

/// The GPUs of all ranks, seen from one.
struct Gpus(Arc<Mutex<World>>);

impl Gpus {
    fn world(&self) -> MutexGuard<'_, World> {
        // Whoever panicked holding it has ended the training.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BucketSums for Gpus {
    fn begin(&mut self, bucket: Vec<Tensor>) -> Result<(), ModelError> {
        Ok(self.world().begin(&bucket)?)
    }

    fn finish(&mut self) -> Result<Vec<Vec<Tensor>>, ModelError> {
        Ok(self.world().collect()?)
    }

    fn time(&mut self) -> ExchangeTime {
        let [taken, waited] = self.world().time();
        ExchangeTime { taken, waited }
    }

    fn on_gpus(&self) -> Option<Arc<dyn SumOnGpus>> {
        Some(Arc::new(Self(Arc::clone(&self.0))))
    }
}

impl SumOnGpus for Gpus {
    fn sum(&self, values: &Tensor) -> candle_core::Result<()> {
        self.world().sum_now(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ranks_on_one_gpu_are_found() {
        let gpus = |names: &str| -> Vec<Vec<u8>> { names.bytes().map(|b| vec![b]).collect() };
        assert_eq!(shared(&gpus("abcd")), None);
        assert_eq!(shared(&gpus("abcb")), Some([1, 3]));
        assert_eq!(shared(&gpus("")), None);
    }
}
