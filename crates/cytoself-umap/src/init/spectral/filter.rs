//! The iteration: a Chebyshev filter on a block of vectors.

use rayon::prelude::*;

use super::{CHUNK, Operator, Solved, fix_signs};
use crate::linalg::{inverse_cholesky, symmetric_eigen};
use crate::rng::Stream;

/// Rounds of filter, orthonormalisation and rotation.
pub(super) const ROUNDS: usize = 30;
/// Degree of the filter.
const DEGREE: usize = 24;
/// Residual at which a vector is done, and the largest with which it is still used at the cap.
pub(super) const TOLERANCE: f64 = 2e-4;
const ACCEPTED: f64 = 2e-2;

/// The iteration on a block of B vectors.
pub(super) struct Filter<'a, const B: usize> {
    operator: &'a Operator,
    stream: Stream,
    x: Vec<[f32; B]>,
    y: Vec<[f32; B]>,
    z: Vec<[f32; B]>,
    products: usize,
}

impl<'a, const B: usize> Filter<'a, B> {
    pub(super) fn new(operator: &'a Operator, stream: Stream) -> Self {
        let n = operator.roots.len();
        let row = |i: usize| {
            let mut row = [0.0; B];
            row.iter_mut()
                .enumerate()
                .for_each(|(b, v)| *v = stream.normal((i * B + b) as u64));
            row[0] = operator.roots[i] as f32;
            row
        };
        let x = (0..n).map(row).collect();
        Self {
            operator,
            stream,
            x,
            y: vec![[0.0; B]; n],
            z: vec![[0.0; B]; n],
            products: 0,
        }
    }

    pub(super) fn solve(mut self, dimensions: usize) -> Result<Solved, String> {
        let mut residual = f64::INFINITY;
        for round in 0..ROUNDS {
            self.orthonormalise(round)?;
            let values = self.rotate();
            residual = self.residual(&values, dimensions + 1);
            if residual <= TOLERANCE {
                break;
            }
            self.filter(values[B - 1].max(-0.3));
        }
        if residual > ACCEPTED {
            return Err(format!(
                "the eigenvectors did not converge in {ROUNDS} rounds: residual {residual:.1e}"
            ));
        }
        let mut vectors: Vec<Vec<f64>> = self
            .x
            .iter()
            .map(|r| r[1..=dimensions].iter().map(|v| f64::from(*v)).collect())
            .collect();
        fix_signs(&mut vectors);
        Ok(Solved {
            vectors,
            residual,
            products: self.products,
        })
    }

    /// Twice Cholesky QR; a column that depends on the others is replaced by a random one.
    fn orthonormalise(&mut self, round: usize) -> Result<(), String> {
        let (mut passes, mut repairs) = (0, 0);
        while passes < 2 {
            match inverse_cholesky(gram(&self.x, &self.x), B) {
                Ok(inverse) => {
                    combine(&mut self.x, &inverse);
                    passes += 1;
                }
                Err(column) if repairs < 2 * B => {
                    repairs += 1;
                    let stream = self.stream.fork((round * 1000 + repairs) as u64);
                    self.x
                        .iter_mut()
                        .enumerate()
                        .for_each(|(i, r)| r[column] = stream.normal(i as u64));
                }
                Err(_) => return Err("the block of vectors stays dependent".to_string()),
            }
        }
        Ok(())
    }

    /// Ritz values in falling order; `x` becomes the Ritz vectors and `y` their products.
    fn rotate(&mut self) -> Vec<f64> {
        self.operator
            .apply(&self.x, &self.x, [1.0, 0.0, 0.0], &mut self.y);
        self.products += 1;
        let (values, vectors) = symmetric_eigen(gram(&self.x, &self.y), B);
        combine(&mut self.x, &vectors);
        combine(&mut self.y, &vectors);
        values
    }

    fn residual(&self, values: &[f64], wanted: usize) -> f64 {
        let partial: Vec<[f64; B]> = self
            .x
            .par_chunks(CHUNK)
            .zip(self.y.par_chunks(CHUNK))
            .map(|(x, y)| {
                let mut sum = [0.0; B];
                for (x, y) in x.iter().zip(y) {
                    for b in 0..B {
                        let r = f64::from(y[b]) - values[b] * f64::from(x[b]);
                        sum[b] += r * r;
                    }
                }
                sum
            })
            .collect();
        (0..wanted)
            .map(|b| partial.iter().map(|p| p[b]).sum::<f64>().sqrt())
            .fold(0.0, f64::max)
    }

    /// The Chebyshev polynomial that stays within 1 on [-1, cut] and grows beyond.
    fn filter(&mut self, cut: f64) {
        let (centre, half) = ((cut - 1.0) / 2.0, (cut + 1.0) / 2.0);
        let (alpha, beta) = ((1.0 / half) as f32, (-centre / half) as f32);
        // y = T1 x, then T(k+1) = 2 t T(k) - T(k-1).
        self.operator
            .apply(&self.x, &self.x, [alpha, beta, 0.0], &mut self.y);
        for _ in 1..DEGREE {
            self.operator.apply(
                &self.y,
                &self.x,
                [2.0 * alpha, 2.0 * beta, -1.0],
                &mut self.z,
            );
            std::mem::swap(&mut self.x, &mut self.y);
            std::mem::swap(&mut self.y, &mut self.z);
        }
        std::mem::swap(&mut self.x, &mut self.y);
        self.products += DEGREE;
    }
}

/// x'y, symmetric, added up in a fixed order.
fn gram<const B: usize>(x: &[[f32; B]], y: &[[f32; B]]) -> Vec<f64> {
    let partial: Vec<Vec<f64>> = x
        .par_chunks(CHUNK)
        .zip(y.par_chunks(CHUNK))
        .map(|(x, y)| {
            let mut sum = vec![0.0; B * B];
            for (x, y) in x.iter().zip(y) {
                for (i, row) in sum.chunks_exact_mut(B).enumerate() {
                    let xi = f64::from(x[i]);
                    row.iter_mut()
                        .zip(y)
                        .for_each(|(s, y)| *s += xi * f64::from(*y));
                }
            }
            sum
        })
        .collect();
    let mut sum = vec![0.0; B * B];
    partial
        .iter()
        .for_each(|p| sum.iter_mut().zip(p).for_each(|(s, v)| *s += v));
    (0..B * B)
        .map(|at| 0.5 * (sum[at] + sum[at % B * B + at / B]))
        .collect()
}

/// x = x m.
fn combine<const B: usize>(x: &mut [[f32; B]], m: &[f64]) {
    x.par_chunks_mut(CHUNK).for_each(|rows| {
        for row in rows {
            let mut out = [0.0_f64; B];
            for (v, m) in row.iter().zip(m.chunks_exact(B)) {
                out.iter_mut()
                    .zip(m)
                    .for_each(|(o, m)| *o += f64::from(*v) * m);
            }
            row.iter_mut().zip(out).for_each(|(r, o)| *r = o as f32);
        }
    });
}
