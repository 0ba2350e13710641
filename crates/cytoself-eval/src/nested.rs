use crate::bootstrap::percentile;
use crate::random::Stream;
use crate::{EvalError, Interval};

/// A score repeated over maps of several trained models: `m` trainings with some maps each.
///
/// The paper gives the mean and the standard error over all maps (5 x 10 = 50 numbers). Maps of one model are not
/// independent, so that error is too small; the interval here draws models first and maps within them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NestedMean {
    /// Mean over the models of the mean over their maps, with the interval of the two-level bootstrap.
    pub mean: Interval,
    /// Standard error over all maps as if they were independent: the paper's number.
    pub standard_error: f64,
    /// Standard error of the models' means; NaN with one model.
    pub model_standard_error: f64,
}

impl NestedMean {
    /// Summarises `scores[model][map]`.
    ///
    /// # Errors
    /// - no model, a model without a map, or no resample.
    ///
    /// # Example
    /// ```
    /// use cytoself_eval::NestedMean;
    /// let found = NestedMean::of(&[vec![1.0, 1.2], vec![2.0, 2.2]], 1000, 42)?;
    /// assert!((found.mean.value - 1.6).abs() < 1e-12);
    /// assert!(found.model_standard_error > found.standard_error);
    /// # Ok::<(), cytoself_eval::EvalError>(())
    /// ```
    pub fn of(scores: &[Vec<f64>], resamples: usize, seed: u64) -> Result<Self, EvalError> {
        if scores.is_empty() || resamples == 0 {
            return Err(EvalError::TooFew {
                what: "models and resamples",
                needed: 1,
                found: 0,
            });
        }
        if scores.iter().any(Vec::is_empty) {
            return Err(EvalError::TooFew {
                what: "maps of every model",
                needed: 1,
                found: 0,
            });
        }
        let means: Vec<f64> = scores.iter().map(|s| mean(s)).collect();
        let mut drawn: Vec<f64> = (0..resamples)
            .map(|at| resample(scores, &mut Stream::new(seed, at as u64)))
            .collect();
        drawn.sort_by(f64::total_cmp);
        Ok(Self {
            mean: Interval {
                value: mean(&means),
                low: percentile(&drawn, 0.025),
                high: percentile(&drawn, 0.975),
            },
            standard_error: standard_error(&scores.concat()),
            model_standard_error: standard_error(&means),
        })
    }
}

fn resample(scores: &[Vec<f64>], stream: &mut Stream) -> f64 {
    let mut sum = 0.0;
    for _ in scores {
        let maps = &scores[stream.below(scores.len())];
        sum += maps
            .iter()
            .map(|_| maps[stream.below(maps.len())])
            .sum::<f64>()
            / maps.len() as f64;
    }
    sum / scores.len() as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn standard_error(values: &[f64]) -> f64 {
    let (n, mean) = (values.len() as f64, mean(values));
    (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0) / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_model_has_no_model_error() {
        let found = NestedMean::of(&[vec![1.0, 2.0, 3.0]], 200, 1).unwrap();
        assert!(found.model_standard_error.is_nan());
        assert!(found.mean.low >= 1.0 && found.mean.high <= 3.0);
        assert!(NestedMean::of(&[vec![]], 10, 1).is_err());
        assert!(NestedMean::of(&[], 10, 1).is_err());
    }
}
