use ndarray::{Array1, Array2, ArrayView2, Axis};
use ndarray_stats::CorrelationExt;

use crate::EvalError;
use crate::distance::Coordinate;
use crate::neighbours::check_finite;
use crate::symmetric::eigen;

/// How the effect of a batch (a plate, an acquisition day) is taken out of features.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum BatchCorrection {
    /// Subtract the mean of each batch.
    Centre,
    /// Subtract the mean of each batch and divide by its standard deviation, feature by feature.
    Standardise,
    /// Typical variation normalisation: whiten by the principal components of the controls, then centre and scale the
    /// controls of each batch. Components below `floor` times the largest variance are dropped, since whitening
    /// them would blow up noise.
    Whiten {
        /// Smallest variance kept, as a share of the largest; `1e-3` is a good start.
        floor: f64,
    },
}

/// Takes batch effects out of features, by statistics of the controls of each batch.
///
/// `control` marks the rows whose spread is to be the same in every batch (untreated wells, a reference protein imaged
/// on every plate). Without controls, mark every row: that is right only where every batch holds the same mix of
/// classes.
///
/// # Shapes
/// `features: [n, d]`, finite; one batch and one mark per row. Returns `[n, d]`, or fewer columns after whitening.
///
/// # Errors
/// - lengths differ, or a feature is not finite;
/// - a batch has fewer than two controls;
/// - no control varies.
///
/// # References
/// Ando, McLean & Berndl 2017, "Improving phenotypic measurements in high-content imaging screens",
/// doi:10.1101/161422 (typical variation normalisation).
///
/// # Example
/// ```
/// use cytoself_eval::{BatchCorrection, correct_batches};
/// let features = ndarray::array![[1.0], [3.0], [11.0], [13.0]];
/// let found = correct_batches(features.view(), &[0, 0, 1, 1], &[true; 4], BatchCorrection::Centre)?;
/// assert_eq!(found, ndarray::array![[-1.0], [1.0], [-1.0], [1.0]]);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn correct_batches<T: Coordinate>(
    features: ArrayView2<'_, T>,
    batch: &[usize],
    control: &[bool],
    correction: BatchCorrection,
) -> Result<Array2<f64>, EvalError> {
    let n = features.nrows();
    for (what, found) in [
        ("batches, one per row", batch.len()),
        ("control marks, one per row", control.len()),
    ] {
        if found != n {
            return Err(EvalError::Shape {
                what,
                expected: n,
                found,
            });
        }
    }
    check_finite(features)?;
    let features = features.mapv(Into::<f64>::into);
    let controls = controls_of(batch, control)?;
    match correction {
        BatchCorrection::Centre => Ok(per_batch(features, batch, &controls, false)),
        BatchCorrection::Standardise => Ok(per_batch(features, batch, &controls, true)),
        BatchCorrection::Whiten { floor } => {
            let rows: Vec<usize> = controls.concat();
            let white = whiten(&features, &rows, floor)?;
            Ok(per_batch(white, batch, &controls, true))
        }
    }
}

/// Control rows of each batch; batches that no row names are empty.
fn controls_of(batch: &[usize], control: &[bool]) -> Result<Vec<Vec<usize>>, EvalError> {
    let batches = batch.iter().max().map_or(0, |b| b + 1);
    let (mut controls, mut named) = (vec![Vec::new(); batches], vec![false; batches]);
    for (row, (&batch, &control)) in batch.iter().zip(control).enumerate() {
        named[batch] = true;
        if control {
            controls[batch].push(row);
        }
    }
    match controls
        .iter()
        .zip(&named)
        .find(|(rows, named)| **named && rows.len() < 2)
    {
        Some((rows, _)) => Err(EvalError::TooFew {
            what: "controls in every batch",
            needed: 2,
            found: rows.len(),
        }),
        None => Ok(controls),
    }
}

fn per_batch(
    mut features: Array2<f64>,
    batch: &[usize],
    controls: &[Vec<usize>],
    scale: bool,
) -> Array2<f64> {
    let statistics: Vec<Option<(Array1<f64>, Array1<f64>)>> = controls
        .iter()
        .map(|rows| {
            let own = features.select(Axis(0), rows);
            Some((own.mean_axis(Axis(0))?, own.std_axis(Axis(0), 0.0)))
        })
        .collect();
    for (mut row, &batch) in features.outer_iter_mut().zip(batch) {
        let Some((mean, deviation)) = &statistics[batch] else {
            continue;
        };
        row -= mean;
        if scale {
            // A feature that does not vary among the controls has no scale to give.
            row.iter_mut()
                .zip(deviation)
                .filter(|(_, d)| **d > 0.0)
                .for_each(|(v, d)| *v /= d);
        }
    }
    features
}

fn whiten(
    features: &Array2<f64>,
    controls: &[usize],
    floor: f64,
) -> Result<Array2<f64>, EvalError> {
    let own = features.select(Axis(0), controls);
    let undefined = || EvalError::Undefined {
        score: "whitening",
        why: "the controls do not vary",
    };
    let mean = own.mean_axis(Axis(0)).ok_or_else(undefined)?;
    let covariance = own.t().cov(0.0).map_err(|_| undefined())?;
    let (values, vectors) = eigen(covariance);
    let largest = values.iter().copied().fold(0.0, f64::max);
    let kept: Vec<usize> = (0..values.len())
        .filter(|&i| values[i] > 0.0 && values[i] >= floor * largest)
        .collect();
    if kept.is_empty() {
        return Err(undefined());
    }
    let mut axes = vectors.select(Axis(1), &kept);
    for (mut axis, &at) in axes.axis_iter_mut(Axis(1)).zip(&kept) {
        axis /= values[at].sqrt();
    }
    Ok((features - &mean).dot(&axes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two batches of the same classes, one shifted, scaled and sheared.
    fn plates() -> (Array2<f64>, Vec<usize>) {
        let noise = |i: usize, j: usize| {
            (crate::random::hash(1, i as u64, j as u64) >> 11) as f64 / (1u64 << 53) as f64
        };
        let plain = Array2::from_shape_fn((200, 4), |(i, j)| {
            noise(i, j) + if j == 0 { (i % 3) as f64 } else { 0.0 }
        });
        let batch: Vec<usize> = (0..200).map(|i| i / 100).collect();
        let moved = Array2::from_shape_fn((200, 4), |(i, j)| {
            if i < 100 {
                plain[[i, j]]
            } else {
                3.0 * plain[[i, j]] + 7.0 + 0.5 * plain[[i, (j + 1) % 4]]
            }
        });
        (moved, batch)
    }

    #[test]
    fn batches_end_with_mean_zero_and_unit_spread() {
        let (features, batch) = plates();
        for correction in [
            BatchCorrection::Standardise,
            BatchCorrection::Whiten { floor: 1e-6 },
        ] {
            let found = correct_batches(features.view(), &batch, &[true; 200], correction).unwrap();
            for rows in [0..100, 100..200] {
                let own = found.select(Axis(0), &rows.collect::<Vec<_>>());
                assert!(
                    own.mean_axis(Axis(0))
                        .unwrap()
                        .iter()
                        .all(|m| m.abs() < 1e-9)
                );
                assert!(
                    own.std_axis(Axis(0), 0.0)
                        .iter()
                        .all(|s| (s - 1.0).abs() < 1e-9)
                );
            }
        }
    }

    #[test]
    fn whitened_controls_are_uncorrelated() {
        let (features, _) = plates();
        let white = correct_batches(
            features.view(),
            &[0; 200],
            &[true; 200],
            BatchCorrection::Whiten { floor: 1e-9 },
        )
        .unwrap();
        let covariance = white.t().cov(0.0).unwrap();
        for ((i, j), value) in covariance.indexed_iter() {
            assert!((value - f64::from(u8::from(i == j))).abs() < 1e-8);
        }
    }

    #[test]
    fn a_batch_without_controls_is_an_error() {
        let (features, batch) = plates();
        let control: Vec<bool> = batch.iter().map(|&b| b == 0).collect();
        assert!(
            correct_batches(features.view(), &batch, &control, BatchCorrection::Centre).is_err()
        );
        assert!(
            correct_batches(
                features.view(),
                &batch[1..],
                &control,
                BatchCorrection::Centre
            )
            .is_err()
        );
    }
}
