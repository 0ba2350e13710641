//! Where each component of a disconnected graph is placed.

use rayon::prelude::*;

use super::Distance;
use crate::linalg::{inverse_cholesky, symmetric_eigen};
use crate::rng::{Purpose, Stream};

/// Components whose mutual distances are looked at; the smaller ones beyond go next to the nearest of these.
const LANDMARKS: usize = 1024;
/// Rounds of the subspace iteration.
const ROUNDS: usize = 60;

/// One position per component, at most 1 from the origin on every axis.
///
/// Up to `2 * dimensions` components stand on the axes, as in umap-learn. More are placed by classical scaling of the
/// distances between one representative of each (umap-learn: spectral embedding of exp(-d^2) of the centroids, which is
/// all zeros for distances much above 1).
pub(crate) fn positions(
    representatives: &[u32],
    dimensions: usize,
    seed: u64,
    distance: Distance<'_>,
) -> Vec<Vec<f64>> {
    let count = representatives.len();
    if count <= 2 * dimensions {
        return (0..count).map(|i| axis(i, dimensions)).collect();
    }
    let stream = Stream::new(seed, Purpose::Spectral).fork(1);
    let Some(distance) = distance else {
        let at = |i: usize, d: usize| stream.uniform((i * dimensions + d) as u64) * 2.0 - 1.0;
        return (0..count)
            .map(|i| (0..dimensions).map(|d| at(i, d)).collect())
            .collect();
    };
    let marks = count.min(LANDMARKS);
    let mut placed = scaling(
        &squares(&representatives[..marks], distance),
        marks,
        dimensions,
        stream,
    );
    for (i, &r) in representatives.iter().enumerate().skip(marks) {
        let nearest = (0..marks).min_by(|&a, &b| {
            let d = |m: usize| distance(r as usize, representatives[m] as usize);
            d(a).total_cmp(&d(b))
        });
        let noise = |d: usize| 0.01 * f64::from(stream.normal((i * dimensions + d) as u64));
        let base = nearest.map_or_else(|| vec![0.0; dimensions], |m| placed[m].clone());
        placed.push(base.iter().enumerate().map(|(d, v)| v + noise(d)).collect());
    }
    placed
}

fn axis(i: usize, dimensions: usize) -> Vec<f64> {
    let mut at = vec![0.0; dimensions];
    at[i / 2] = if i.is_multiple_of(2) { 1.0 } else { -1.0 };
    at
}

/// Squared distances; unknown ones count as the largest known.
fn squares(points: &[u32], distance: &(dyn Fn(usize, usize) -> f32 + Sync)) -> Vec<f64> {
    let row = |&i: &u32| -> Vec<f64> {
        points
            .iter()
            .map(|&j| {
                if i == j {
                    0.0
                } else {
                    f64::from(distance(i as usize, j as usize))
                }
            })
            .collect()
    };
    let mut all: Vec<f64> = points.par_iter().map(row).collect::<Vec<_>>().concat();
    let largest = all
        .iter()
        .copied()
        .filter(|d| d.is_finite())
        .fold(0.0, f64::max);
    all.iter_mut().for_each(|d| {
        *d = if d.is_finite() {
            *d * *d
        } else {
            largest * largest
        }
    });
    all
}

/// Classical multidimensional scaling (Torgerson 1952, doi:10.1007/BF02288916) by subspace iteration.
fn scaling(squares: &[f64], n: usize, dimensions: usize, stream: Stream) -> Vec<Vec<f64>> {
    let means: Vec<f64> = squares
        .chunks(n)
        .map(|row| row.iter().sum::<f64>() / n as f64)
        .collect();
    let overall = means.iter().sum::<f64>() / n as f64;
    let mut centred: Vec<f64> = (0..n * n)
        .map(|at| -0.5 * (squares[at] - means[at / n] - means[at % n] + overall))
        .collect();
    // A multiple of the identity keeps the block of vectors independent where the distances are those of a plane.
    let shift = (0..n).map(|i| centred[i * n + i]).sum::<f64>() / n as f64;
    (0..n).for_each(|i| centred[i * n + i] += shift);
    let width = (dimensions + 3).min(n);
    let mut x: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            (0..width)
                .map(|c| f64::from(stream.fork(2).normal((i * width + c) as u64)))
                .collect()
        })
        .collect();
    let mut values = vec![0.0; width];
    for _ in 0..ROUNDS {
        let y = multiply(&centred, &x, n, width);
        let Ok(inverse) = inverse_cholesky(gram(&y, &y, width), width) else {
            break;
        };
        x = y.iter().map(|row| times(row, &inverse, width)).collect();
        let projected = multiply(&centred, &x, n, width);
        let (found, vectors) = symmetric_eigen(gram(&x, &projected, width), width);
        x = x.iter().map(|row| times(row, &vectors, width)).collect();
        values = found;
    }
    let at = |row: &Vec<f64>, d: usize| {
        row.get(d)
            .map_or(0.0, |v| v * (values[d] - shift).max(0.0).sqrt())
    };
    let mut out: Vec<Vec<f64>> = x
        .iter()
        .map(|row| (0..dimensions).map(|d| at(row, d)).collect())
        .collect();
    let largest = out.iter().flatten().fold(0.0_f64, |m, v| m.max(v.abs()));
    out.iter_mut()
        .flatten()
        .for_each(|v| *v /= largest.max(1e-300));
    out
}

fn multiply(matrix: &[f64], x: &[Vec<f64>], n: usize, width: usize) -> Vec<Vec<f64>> {
    let product = |row: &[f64]| {
        let mut out = vec![0.0; width];
        row.iter()
            .zip(x)
            .for_each(|(m, x)| out.iter_mut().zip(x).for_each(|(o, x)| *o += m * x));
        out
    };
    matrix.par_chunks(n).map(product).collect()
}

fn gram(x: &[Vec<f64>], y: &[Vec<f64>], width: usize) -> Vec<f64> {
    let mut out = vec![0.0; width * width];
    for (x, y) in x.iter().zip(y) {
        for (i, a) in x.iter().enumerate() {
            y.iter()
                .enumerate()
                .for_each(|(j, b)| out[i * width + j] += a * b);
        }
    }
    // Rounding must not make it asymmetric.
    (0..width * width)
        .map(|at| 0.5 * (out[at] + out[at % width * width + at / width]))
        .collect()
}

fn times(row: &[f64], matrix: &[f64], width: usize) -> Vec<f64> {
    (0..width)
        .map(|j| {
            row.iter()
                .enumerate()
                .map(|(i, v)| v * matrix[i * width + j])
                .sum()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_recovers_a_plane() {
        let s = Stream::new(5, Purpose::Noise);
        let at = |i: usize| {
            [
                f64::from(s.normal(2 * i as u64)) * 3.0,
                f64::from(s.normal(2 * i as u64 + 1)),
            ]
        };
        let true_distance = |i: usize, j: usize| {
            let (a, b) = (at(i), at(j));
            ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)).sqrt() as f32
        };
        let marks: Vec<u32> = (0..40).collect();
        let found = positions(&marks, 2, 1, Some(&true_distance));
        let between = |i: usize, j: usize| {
            ((found[i][0] - found[j][0]).powi(2) + (found[i][1] - found[j][1]).powi(2)).sqrt()
        };
        let scale = between(0, 1) / f64::from(true_distance(0, 1));
        for (i, j) in [(2, 3), (10, 30), (39, 5)] {
            assert!((between(i, j) / f64::from(true_distance(i, j)) / scale - 1.0).abs() < 1e-3);
        }
    }
}
