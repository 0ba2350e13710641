//! Statistics of a batch that is spread over several ranks.

use std::cell::RefCell;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::plain::{BatchStatistics, MapShape, moments};
use crate::ops::simd::InstructionSet;

/// Adds up what every part of a batch contributes.
///
/// All parts call it in the same order, forward and backward.
pub trait SumOverParts: Send + Sync {
    /// Replaces `values` by their sum over all parts of the batch.
    ///
    /// # Errors
    /// * a part is lost.
    fn sum(&self, values: &mut [f64]) -> Result<()>;

    /// The sum of `sums` (f64, on a GPU) over all parts of the batch, taken by the GPUs while the host goes on, and the values per channel
    /// of all parts, of which this one has `count`. `None` where the parts have no such way, which is the default: the caller then reads
    /// the values and asks for [`SumOverParts::sum`].
    ///
    /// # Errors
    /// * a part is lost.
    fn sum_on_gpu(&self, _sums: &Tensor, _count: f64) -> Result<Option<(Tensor, f64)>> {
        Ok(None)
    }
}

thread_local! {
    static PARTS: RefCell<Option<Arc<dyn SumOverParts>>> = const { RefCell::new(None) };
}

/// Restores what was there before, however the function ends.
struct Guard(Option<Arc<dyn SumOverParts>>);

impl Drop for Guard {
    fn drop(&mut self) {
        PARTS.set(self.0.take());
    }
}

/// Runs `f` with batch normalisations whose batch is spread over `parts`: their statistics, and the gradients through them, are
/// those of the whole batch.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use candle_core::{Device, Result, Tensor};
/// use cytoself_model::ops::{self, Activation, BatchNormMode, BatchNormRunning, SumOverParts};
///
/// /// A second part that holds the same.
/// struct Twice;
/// impl SumOverParts for Twice {
///     fn sum(&self, values: &mut [f64]) -> Result<()> {
///         values.iter_mut().for_each(|v| *v *= 2.0);
///         Ok(())
///     }
/// }
///
/// let x = Tensor::new(&[1f32, 3.], &Device::Cpu)?.reshape((1, 1, 1, 2))?;
/// let running = BatchNormRunning::new(1, &Device::Cpu)?;
/// let train = BatchNormMode::Train { momentum: 0.5 };
/// ops::with_parts(Some(Arc::new(Twice)), || ops::batch_norm(&x, None, &running, train, 0.0, None, Activation::None))?;
/// // Four values: 1, 3, 1, 3 have the unbiased variance 4/3.
/// assert!((running.var.to_vec1::<f32>()?[0] - (0.5 + 0.5 * 4.0 / 3.0)).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn with_parts<T>(parts: Option<Arc<dyn SumOverParts>>, f: impl FnOnce() -> T) -> T {
    let _guard = Guard(PARTS.replace(parts));
    f()
}

/// The parts that the batch of this thread is spread over, if it is.
pub(in crate::ops) fn parts() -> Option<Arc<dyn SumOverParts>> {
    PARTS.with_borrow(Clone::clone)
}

/// A batch of which this thread has a part.
pub(super) struct Parts {
    all: Arc<dyn SumOverParts>,
    /// Values per channel in all parts.
    pub(super) count: f64,
}

impl Parts {
    /// Mean and biased variance of every channel over all parts.
    pub(super) fn statistics(
        all: Arc<dyn SumOverParts>,
        x: &[f32],
        shape: MapShape,
        isa: InstructionSet,
    ) -> Result<(BatchStatistics, Self)> {
        let [batch, channels, plane] = shape;
        let own = (batch * plane) as f64;
        let mut sums = vec![own];
        for [mean, variance] in moments(x, shape, isa) {
            // Raw moments add up; in double precision the difference below loses nothing that f32 could hold.
            sums.extend([own * mean, own * (variance + mean * mean)]);
        }
        all.sum(&mut sums)?;
        let count = sums[0];
        let (mean, variance) = (0..channels)
            .map(|c| {
                let (mean, square) = (sums[1 + 2 * c] / count, sums[2 + 2 * c] / count);
                (mean as f32, (square - mean * mean).max(0.0) as f32)
            })
            .unzip();
        Ok((BatchStatistics { mean, variance }, Self { all, count }))
    }

    /// Sums over all parts, `[sum, product]` per channel.
    pub(super) fn sum(&self, sums: &mut [[f64; 2]]) -> Result<f64> {
        self.all.sum(sums.as_flattened_mut())?;
        Ok(self.count)
    }
}
