use rayon::prelude::*;

use crate::EvalError;
use crate::random::Stream;

/// A score and the interval in which it would fall for other samples of the same kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The score of the sample itself.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How intervals are drawn.
///
/// # Defaults
/// - 1000 resamples;
/// - 95 % intervals (percentiles 2.5 and 97.5);
/// - seed 42.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BootstrapParams {
    /// Number of resamples.
    pub resamples: usize,
    /// Share of the resamples inside the interval.
    pub confidence: f64,
    /// Seed.
    pub seed: u64,
}

impl Default for BootstrapParams {
    fn default() -> Self {
        Self {
            resamples: 1000,
            confidence: 0.95,
            seed: 42,
        }
    }
}

/// Percentile bootstrap of any score.
///
/// `units` are the independent observations (fields of view, proteins, or single images): whole units are drawn with
/// replacement, so that images of one field, which are alike, do not count as independent evidence. `score` gets the
/// items of the drawn units, with repeats; resamples whose score is not finite are left out.
///
/// # Errors
/// - no unit, no resample, or a confidence outside (0, 1).
///
/// # References
/// Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13.
///
/// # Example
/// ```
/// use cytoself_eval::{BootstrapParams, bootstrap};
/// let values = [1.0, 2.0, 3.0, 4.0];
/// let units: Vec<Vec<usize>> = (0..4).map(|i| vec![i]).collect();
/// let mean = |items: &[usize]| items.iter().map(|&i| values[i]).sum::<f64>() / items.len() as f64;
/// let found = bootstrap(&units, &BootstrapParams::default(), mean)?;
/// assert_eq!(found.value, 2.5);
/// assert!(found.low >= 1.0 && found.low < 2.0 && found.high > 3.0 && found.high <= 4.0);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn bootstrap(
    units: &[Vec<usize>],
    params: &BootstrapParams,
    score: impl Fn(&[usize]) -> f64 + Sync,
) -> Result<Interval, EvalError> {
    check(units, params)?;
    let value = score(&units.concat());
    let mut scores: Vec<f64> = (0..params.resamples)
        .into_par_iter()
        .map(|resample| {
            let mut stream = Stream::new(params.seed, resample as u64);
            let drawn: Vec<usize> = (0..units.len())
                .flat_map(|_| units[stream.below(units.len())].iter().copied())
                .collect();
            score(&drawn)
        })
        .collect();
    scores.retain(|s| s.is_finite());
    scores.sort_by(f64::total_cmp);
    let tail = (1.0 - params.confidence) / 2.0;
    Ok(Interval {
        value,
        low: percentile(&scores, tail),
        high: percentile(&scores, 1.0 - tail),
    })
}

fn check(units: &[Vec<usize>], params: &BootstrapParams) -> Result<(), EvalError> {
    if units.is_empty() {
        return Err(EvalError::TooFew {
            what: "units to resample",
            needed: 1,
            found: 0,
        });
    }
    if params.resamples == 0 {
        return Err(EvalError::Parameter {
            name: "resamples",
            found: "0".into(),
            expected: "at least 1",
        });
    }
    if !(params.confidence > 0.0 && params.confidence < 1.0) {
        let found = params.confidence.to_string();
        return Err(EvalError::Parameter {
            name: "confidence",
            found,
            expected: "above 0 and below 1",
        });
    }
    Ok(())
}

/// Percentile of sorted values, linear between neighbours; NaN for none.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(items: &[usize]) -> f64 {
        items.iter().map(|&i| i as f64).sum::<f64>() / items.len() as f64
    }

    #[test]
    fn the_interval_of_a_mean_is_as_wide_as_theory_says() {
        let units: Vec<Vec<usize>> = (0..400).map(|i| vec![i]).collect();
        let found = bootstrap(
            &units,
            &BootstrapParams {
                resamples: 4000,
                ..Default::default()
            },
            mean,
        )
        .unwrap();
        // Standard error of the mean of 0..400 is 400 / sqrt(12 * 400).
        let expected = 2.0 * 1.96 * 400.0 / (12.0f64 * 400.0).sqrt();
        assert!(((found.high - found.low) / expected - 1.0).abs() < 0.05);
    }

    #[test]
    fn units_that_agree_within_widen_the_interval() {
        let apart: Vec<Vec<usize>> = (0..400).map(|i| vec![i]).collect();
        let blocks: Vec<Vec<usize>> = (0..10).map(|b| (b * 40..b * 40 + 40).collect()).collect();
        let width = |units: &[Vec<usize>]| {
            let found = bootstrap(units, &BootstrapParams::default(), mean).unwrap();
            found.high - found.low
        };
        assert!(width(&blocks) > 4.0 * width(&apart));
    }

    #[test]
    fn same_bits_with_one_and_three_threads() {
        let units: Vec<Vec<usize>> = (0..20).map(|i| vec![i, i + 1]).collect();
        let run = |n| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n)
                .build()
                .unwrap();
            pool.install(|| bootstrap(&units, &BootstrapParams::default(), mean).unwrap())
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn nonsense_is_refused() {
        let units = [vec![0]];
        assert!(bootstrap(&[], &BootstrapParams::default(), mean).is_err());
        assert!(
            bootstrap(
                &units,
                &BootstrapParams {
                    resamples: 0,
                    ..Default::default()
                },
                mean
            )
            .is_err()
        );
        assert!(
            bootstrap(
                &units,
                &BootstrapParams {
                    confidence: 1.0,
                    ..Default::default()
                },
                mean
            )
            .is_err()
        );
    }
}
