//! A short description of long rows: their leading principal components, fitted on a sample.
//!
//! Neighbours are looked for among the sketches, 10 to 100 times cheaper than among the rows, and ranked again by the
//! true distance; the audit of the result says whether that was enough.

use ndarray::Array2;
use rayon::prelude::*;

use crate::linalg::inverse_cholesky;
use crate::rng::{Purpose, Stream};
use crate::source::{Space, products};

/// Components of a sketch.
pub(crate) const WIDTH: usize = 96;
/// Rows that the components are fitted on, and rounds of the fit.
const SAMPLE: usize = 2048;
const ROUNDS: usize = 2;
/// Columns and rows of one task.
const COLUMNS: usize = 512;
const ROWS: usize = 128;

/// The sketch of every reference point, `[n, WIDTH]`; `None` where points cannot be written as rows of numbers.
///
/// # References
/// Halko, Martinsson, Tropp 2011, doi:10.1137/090771806, algorithm 4.4.
pub(crate) fn sketch<S: Space>(space: &S, seed: u64) -> Option<Array2<f32>> {
    let stream = Stream::new(seed, Purpose::Sketch);
    let sample = stream.sample(SAMPLE, space.len());
    let mut rows = space.expand(&sample)?;
    let mean = rows.mean_axis(ndarray::Axis(0))?;
    rows -= &mean;
    let columns = rows.ncols();
    let mut basis = Array2::from_shape_fn((WIDTH, columns), |(c, j)| {
        stream.fork(1).normal((c * columns + j) as u64)
    });
    for _ in 0..ROUNDS {
        basis = back(&forward(&rows, &basis), &rows);
        basis = orthonormal(&orthonormal(&basis)?)?;
    }
    Some(space.project(&basis))
}

/// rows . basis', `[sample, WIDTH]`.
fn forward(rows: &Array2<f32>, basis: &Array2<f32>) -> Array2<f32> {
    let (flat, vectors) = (
        rows.as_slice().unwrap_or(&[]),
        basis.as_slice().unwrap_or(&[]),
    );
    let columns = rows.ncols();
    let mut out = Array2::zeros((rows.nrows(), WIDTH));
    if let Some(all) = out.as_slice_mut() {
        let parts = all
            .par_chunks_mut(ROWS * WIDTH)
            .zip(flat.par_chunks(ROWS * columns));
        parts.for_each(|(out, rows)| products(rows, vectors, columns, out));
    }
    out
}

/// projected' . rows, `[WIDTH, columns]`.
fn back(projected: &Array2<f32>, rows: &Array2<f32>) -> Array2<f32> {
    let columns = rows.ncols();
    let parts: Vec<Array2<f32>> = (0..columns.div_ceil(COLUMNS))
        .into_par_iter()
        .map(|part| {
            let range = part * COLUMNS..((part + 1) * COLUMNS).min(columns);
            projected.t().dot(&rows.slice(ndarray::s![.., range]))
        })
        .collect();
    let mut out = Array2::zeros((WIDTH, columns));
    for (part, mut slot) in parts
        .iter()
        .zip(out.axis_chunks_iter_mut(ndarray::Axis(1), COLUMNS))
    {
        slot.assign(part);
    }
    out
}

/// The rows made orthonormal; directions that the data does not have become nearly 0.
fn orthonormal(basis: &Array2<f32>) -> Option<Array2<f32>> {
    let w = basis.nrows();
    let rows: Vec<&[f32]> = basis
        .rows()
        .into_iter()
        .map(|r| r.to_slice().unwrap_or(&[]))
        .collect();
    let halves: Vec<Vec<f64>> = (0..w)
        .into_par_iter()
        .map(|i| rows[..=i].iter().map(|other| dot(rows[i], other)).collect())
        .collect();
    let mut gram: Vec<f64> = (0..w * w)
        .map(|at| halves[(at / w).max(at % w)][(at / w).min(at % w)])
        .collect();
    let trace: f64 = (0..w).map(|i| gram[i * w + i]).sum();
    (0..w).for_each(|i| gram[i * w + i] += 1e-10 * trace + 1e-300);
    let inverse = inverse_cholesky(gram, w).ok()?;
    let mixed: Vec<Vec<f32>> = (0..w)
        .into_par_iter()
        .map(|j| {
            let mut out = vec![0.0_f64; basis.ncols()];
            for i in 0..=j {
                let f = inverse[i * w + j];
                out.iter_mut()
                    .zip(rows[i])
                    .for_each(|(o, v)| *o += f * f64::from(*v));
            }
            out.into_iter().map(|v| v as f32).collect()
        })
        .collect();
    Array2::from_shape_vec((w, basis.ncols()), mixed.concat()).ok()
}

/// The inner product, added up in eight lanes.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0_f64; 8];
    let (a, b) = (a.chunks(8), b.chunks(8));
    for (a, b) in a.zip(b) {
        for ((s, a), b) in sums.iter_mut().zip(a).zip(b) {
            *s += f64::from(*a) * f64::from(*b);
        }
    }
    sums.iter().sum()
}

/// `expand` and `project` block by block: what a space does that knows no better.
pub(crate) fn project_by_rows<S: Space>(space: &S, basis: &Array2<f32>) -> Array2<f32> {
    let vectors = basis.as_slice().unwrap_or(&[]);
    let mut out = Array2::zeros((space.len(), WIDTH));
    if let Some(all) = out.as_slice_mut() {
        all.par_chunks_mut(ROWS * WIDTH)
            .enumerate()
            .for_each(|(b, out)| {
                let points: Vec<usize> = (b * ROWS..b * ROWS + out.len() / WIDTH).collect();
                if let Some(rows) = space.expand(&points) {
                    products(rows.as_slice().unwrap_or(&[]), vectors, basis.ncols(), out);
                }
            });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Metric, squared_euclidean};
    use crate::source::{CodeSpace, DenseSpace, PointSource};

    #[test]
    fn distances_survive_in_data_of_low_rank() {
        let s = Stream::new(6, Purpose::Noise);
        let latent = Array2::from_shape_fn((300, 20), |(i, j)| s.normal((i * 20 + j) as u64));
        let mixing =
            Array2::from_shape_fn((20, 700), |(i, j)| s.fork(1).normal((i * 700 + j) as u64));
        let x = latent.dot(&mixing);
        let source = PointSource::dense(x.view()).unwrap();
        let PointSource::Dense(points) = &source else {
            unreachable!()
        };
        let space = DenseSpace::new(points, Metric::Euclidean);
        let short = sketch(&space, 1).unwrap();
        for (i, j) in [(0, 1), (7, 200), (33, 34)] {
            let found = squared_euclidean(
                short.row(i).to_slice().unwrap(),
                short.row(j).to_slice().unwrap(),
            );
            assert!(
                (found / space.rank(i, j) - 1.0).abs() < 1e-3,
                "{found} {}",
                space.rank(i, j)
            );
        }
    }

    #[test]
    fn codes_project_as_their_expansion() {
        let s = Stream::new(7, Purpose::Noise);
        let codes =
            Array2::from_shape_fn((200, 9), |(i, j)| s.below((i * 9 + j) as u64, 30) as u16);
        let book = Array2::from_shape_fn((30, 60), |(i, j)| s.fork(1).normal((i * 60 + j) as u64));
        let source = PointSource::codes(codes.view(), book.view()).unwrap();
        let PointSource::Codes(points) = &source else {
            unreachable!()
        };
        for metric in [Metric::Euclidean, Metric::Correlation] {
            let space = CodeSpace::new(points, metric);
            let basis = Array2::from_shape_fn((WIDTH, 540), |(i, j)| {
                s.fork(2).normal((i * 540 + j) as u64)
            });
            let (fast, plain) = (space.project(&basis), project_by_rows(&space, &basis));
            let largest = plain.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            assert!(
                fast.iter()
                    .zip(&plain)
                    .all(|(a, b)| (a - b).abs() < 1e-4 * largest)
            );
        }
    }
}
