//! Local scales: rho, the distance below which a neighbour is certain, and sigma, the width of the decay.

use rayon::prelude::*;

use crate::Knn;
use crate::math::{exp, ln};

/// Bisection steps and tolerance of umap-learn.
const STEPS: usize = 64;
const TOLERANCE: f64 = 1e-5;
/// Sigma is at least this share of the mean distance.
const FLOOR: f64 = 1e-3;

/// The scales of one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Smooth {
    pub(crate) sigma: f64,
    pub(crate) rho: f64,
}

/// Mean over points of the mean distance to their neighbours.
pub(crate) fn mean_distance(knn: &Knn) -> f64 {
    mean(&row_means(knn))
}

fn row_means(knn: &Knn) -> Vec<f64> {
    (0..knn.len())
        .into_par_iter()
        .map(|i| mean(&finite(knn.distances().row(i).iter())))
        .collect()
}

/// Scales such that the memberships of a row, without its first column, sum to log2(k). `overall` is the mean
/// distance that bounds sigma from below where rho is 0.
pub(crate) fn smooth_knn(knn: &Knn, local_connectivity: f64, overall: f64) -> Vec<Smooth> {
    let target = ln(knn.k() as f64) / std::f64::consts::LN_2;
    let distances = knn.distances();
    (0..knn.len())
        .into_par_iter()
        .with_min_len(64)
        .map(|i| {
            let row = finite(distances.row(i).iter());
            let rho = rho(&row, local_connectivity);
            let sigma = sigma(row.get(1..).unwrap_or(&[]), rho, target);
            let floor = FLOOR * if rho > 0.0 { mean(&row) } else { overall };
            Smooth {
                sigma: sigma.max(floor),
                rho,
            }
        })
        .collect()
}

fn finite<'a>(row: impl Iterator<Item = &'a f32>) -> Vec<f64> {
    row.filter(|d| d.is_finite())
        .map(|d| f64::from(*d))
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        values.iter().sum::<f64>() / values.len() as f64
    }
}

/// Distance to the `local_connectivity`-th nearest different point, interpolated for a fraction.
fn rho(row: &[f64], local_connectivity: f64) -> f64 {
    let nonzero: Vec<f64> = row.iter().copied().filter(|d| *d > 0.0).collect();
    if (nonzero.len() as f64) < local_connectivity {
        return nonzero.last().copied().unwrap_or(0.0);
    }
    let index = local_connectivity.floor() as usize;
    let part = local_connectivity - index as f64;
    let at = |i: usize| nonzero.get(i).copied().unwrap_or(0.0);
    match index {
        0 => part * at(0),
        _ if part > TOLERANCE => at(index - 1) + part * (at(index) - at(index - 1)),
        _ => at(index - 1),
    }
}

/// Membership of a neighbour at `distance`.
fn membership(distance: f64, scale: Smooth) -> f64 {
    let d = distance - scale.rho;
    if d <= 0.0 { 1.0 } else { exp(-d / scale.sigma) }
}

fn sigma(others: &[f64], rho: f64, target: f64) -> f64 {
    let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..STEPS {
        let sum: f64 = others
            .iter()
            .map(|&d| membership(d, Smooth { sigma, rho }))
            .sum();
        if (sum - target).abs() < TOLERANCE {
            break;
        }
        if sum > target {
            high = sigma;
            sigma = 0.5 * (low + high);
        } else {
            low = sigma;
            sigma = if high == f64::INFINITY {
                2.0 * sigma
            } else {
                0.5 * (low + high)
            };
        }
    }
    sigma
}

/// Memberships of every neighbour, row-major like the graph; 0 for missing neighbours and, within one set, for the point
/// itself.
pub(crate) fn strengths(knn: &Knn, scales: &[Smooth], one_set: bool) -> Vec<f32> {
    let k = knn.k();
    let mut out = vec![0.0_f32; knn.len() * k];
    out.par_chunks_mut(k)
        .enumerate()
        .with_min_len(64)
        .for_each(|(i, row)| {
            let pairs = knn
                .indices()
                .row(i)
                .to_vec()
                .into_iter()
                .zip(knn.distances().row(i).to_vec());
            for (value, (j, d)) in row.iter_mut().zip(pairs) {
                let absent = j == Knn::MISSING || (one_set && j as usize == i);
                *value = if absent {
                    0.0
                } else {
                    membership(f64::from(d), scales[i]) as f32
                };
            }
        });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Stream};
    use ndarray::Array2;

    fn random_knn() -> Knn {
        let s = Stream::new(8, Purpose::Noise);
        let distances = Array2::from_shape_fn((200, 10), |(i, j)| {
            let mut d: Vec<f32> = (1..10)
                .map(|c| s.uniform((i * 10 + c) as u64) as f32 * 3.0 + 0.5)
                .collect();
            d.sort_by(f32::total_cmp);
            if j == 0 { 0.0 } else { d[j - 1] }
        });
        let indices = Array2::from_shape_fn((200, 10), |(i, j)| ((i + j) % 200) as u32);
        Knn::new(indices, distances).unwrap()
    }

    #[test]
    fn row_sums_reach_the_target() {
        let knn = random_knn();
        for local_connectivity in [1.0, 1.75] {
            for (i, s) in smooth_knn(&knn, local_connectivity, mean_distance(&knn))
                .into_iter()
                .enumerate()
            {
                let sum: f64 = knn
                    .distances()
                    .row(i)
                    .iter()
                    .map(|&d| membership(f64::from(d), s))
                    .sum();
                // The point itself adds 1 to log2(10).
                assert!((sum - (1.0 + 10_f64.log2())).abs() < 1e-3, "{i}: {sum}");
            }
        }
    }

    #[test]
    fn fractional_connectivity_interpolates() {
        let row = [0.0, 1.0, 3.0, 7.0];
        assert_eq!(rho(&row, 1.0), 1.0);
        assert_eq!(rho(&row, 1.5), 2.0);
        assert_eq!(rho(&row, 0.0), 0.0);
        assert_eq!(rho(&row, 9.0), 7.0);
        assert_eq!(rho(&[0.0, 0.0], 1.0), 0.0);
    }
}
