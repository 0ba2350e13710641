//! Measures of a batch that may still be on a GPU.

use candle_core::Tensor;
use cytoself_vq::candle::Tally;

use crate::ModelError;
use crate::metrics::Metrics;

/// What a batch is measured by, where it was computed: nothing waits until somebody [reads](Measures::read) it.
#[derive(Debug, Default)]
pub struct Measures {
    names: Vec<String>,
    scalars: Vec<Tensor>,
    /// What each scalar is divided by.
    divisors: Vec<f64>,
    tallies: Vec<(String, Tally)>,
}

impl Measures {
    /// A measure that is a scalar tensor.
    pub(crate) fn scalar(&mut self, name: impl Into<String>, value: &Tensor) {
        self.share(name, value, 1);
    }

    /// A measure that is a count, as a scalar tensor, of `total`.
    pub(crate) fn share(&mut self, name: impl Into<String>, count: &Tensor, total: usize) {
        self.names.push(name.into());
        self.scalars.push(count.detach());
        self.divisors.push(total.max(1) as f64);
    }

    /// A measure that is the perplexity of codes.
    pub(crate) fn tally(&mut self, name: String, tally: &Tally) {
        self.tallies.push((name, tally.clone()));
    }

    /// The numbers; waits for the GPU if they are there.
    ///
    /// # Errors
    /// - candle cannot copy them;
    /// - a vector or code that was quantised is not finite, which a GPU tells only now.
    pub fn read(&self) -> Result<Metrics, ModelError> {
        let mut metrics = Metrics::default();
        // Before the first wait.
        let joined = match self.scalars.is_empty() {
            true => None,
            false => Some(self.joined()?),
        };
        for (name, tally) in &self.tallies {
            metrics.set(name, tally.perplexity()?);
        }
        if let Some(joined) = joined {
            let values: Vec<f32> = joined.to_vec1()?;
            name_values(&self.names, &values, &self.divisors, &mut metrics);
        }
        Ok(metrics)
    }

    /// The scalars in a row; there must be one.
    pub(crate) fn joined(&self) -> candle_core::Result<Tensor> {
        Tensor::stack(&self.scalars, 0)
    }
}

fn name_values(names: &[String], values: &[f32], divisors: &[f64], metrics: &mut Metrics) {
    for ((name, value), divisor) in names.iter().zip(values).zip(divisors) {
        metrics.set(name, f64::from(*value) / divisor);
    }
}

/// What the numbers of a batch are called, for numbers that were read in another way.
#[cfg(feature = "candle-cuda")]
#[derive(Debug, Clone)]
pub(crate) struct Names {
    names: Vec<String>,
    divisors: Vec<f64>,
    tallies: Vec<String>,
}

#[cfg(feature = "candle-cuda")]
impl Names {
    pub(crate) fn of(measures: &Measures) -> Self {
        Self {
            names: measures.names.clone(),
            divisors: measures.divisors.clone(),
            tallies: measures.tallies.iter().map(|(n, _)| n.clone()).collect(),
        }
    }

    /// As [`Measures::read`], from the values of [`Measures::joined`] and the uses of the codes.
    pub(crate) fn metrics(&self, values: &[f32], uses: &[Vec<u32>]) -> Metrics {
        let mut metrics = Metrics::default();
        name_values(&self.names, values, &self.divisors, &mut metrics);
        for (name, uses) in self.tallies.iter().zip(uses) {
            metrics.set(name, cytoself_vq::perplexity(uses.iter().copied()));
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn scalars_and_shares_are_read_together() {
        let scalar = |v: f32| Tensor::new(v, &Device::Cpu).unwrap();
        let mut measures = Measures::default();
        assert_eq!(measures.read().unwrap(), Metrics::default());
        measures.scalar("loss", &scalar(1.5));
        measures.share("fc1_accuracy", &scalar(3.0), 7);
        let read = measures.read().unwrap();
        assert_eq!(read.loss(), 1.5);
        assert_eq!(read.get("fc1_accuracy"), Some(3.0 / 7.0));
        assert_eq!(read.get("fc2_accuracy"), Some(0.0));
    }
}
