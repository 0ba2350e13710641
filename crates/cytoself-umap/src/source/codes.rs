//! Code indices with a codebook: a quantised representation at 1/64 of its size.

mod project;

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2};
use rayon::prelude::*;

use self::project::project_codes;
use super::dense::{angular, check_finite};
use super::space::{Scratch, Space};
use super::{not_empty, row_major};
use crate::UmapError;
use crate::hash::content_hash;
use crate::metric::{self, Metric};

/// Rows of code indices and their codebook.
#[derive(Debug, Clone)]
pub struct CodePoints<'a> {
    codes: CowArray<'a, u16, Ix2>,
    codebook: CowArray<'a, f32, Ix2>,
}

impl<'a> CodePoints<'a> {
    pub(crate) fn new(
        codes: CowArray<'a, u16, Ix2>,
        codebook: CowArray<'a, f32, Ix2>,
    ) -> Result<Self, UmapError> {
        not_empty("the codes", &codes)?;
        not_empty("the codebook", &codebook)?;
        let (codes, codebook) = (row_major(codes), row_major(codebook));
        check_finite(codebook.view())?;
        let k = codebook.nrows();
        if let Some(((row, position), &code)) =
            codes.indexed_iter().find(|(_, c)| usize::from(**c) >= k)
        {
            return Err(UmapError::Code {
                row,
                position,
                code,
                codes: k,
            });
        }
        Ok(Self { codes, codebook })
    }

    /// The code indices.
    #[must_use]
    pub fn codes(&self) -> ArrayView2<'_, u16> {
        self.codes.view()
    }

    /// The codebook.
    #[must_use]
    pub fn codebook(&self) -> ArrayView2<'_, f32> {
        self.codebook.view()
    }

    pub(crate) fn select(&self, rows: &[usize]) -> CodePoints<'static> {
        let codes = CowArray::from(self.codes.select(Axis(0), rows));
        CodePoints {
            codes,
            codebook: CowArray::from(self.codebook.to_owned()),
        }
    }

    pub(crate) fn content_hash(&self) -> u64 {
        let codes = content_hash("codes", self.codes.dim(), self.flat(), |v| u32::from(*v));
        let book = self.codebook.as_slice().unwrap_or(&[]);
        codes ^ content_hash("codebook", self.codebook.dim(), book, |v| v.to_bits()).rotate_left(1)
    }

    fn flat(&self) -> &[u16] {
        // Row-major since `new`.
        self.codes.as_slice().unwrap_or(&[])
    }
}

/// Partial sums over the positions of a row; fixed, so that every path adds in the same order.
const SUMS: usize = 8;

/// One side of a search over codes.
struct Side<'a> {
    codes: &'a [u16],
    /// 1 / norm of the expanded row for the angular metrics, else 1; 0 for a zero row.
    scale: Vec<f32>,
    /// Mean of the expanded row for the correlation, else 0.
    mean: Vec<f32>,
}

/// Codes under a metric. All four metrics are sums over positions of one number per pair of codes.
pub(crate) struct CodeSpace<'a> {
    metric: Metric,
    positions: usize,
    codebook: ArrayView2<'a, f32>,
    /// `[k, k]`: squared distance, absolute distance or product of two codebook vectors.
    table: Vec<f32>,
    k: usize,
    queries: Option<Side<'a>>,
    points: Side<'a>,
}

impl<'a> CodeSpace<'a> {
    pub(crate) fn new(points: &'a CodePoints<'_>, metric: Metric) -> Self {
        let codebook = points.codebook.view();
        let k = codebook.nrows();
        let table = table(codebook, metric);
        let side = Side::new(
            points.flat(),
            points.codes.ncols(),
            codebook,
            &table,
            metric,
        );
        Self {
            metric,
            positions: points.codes.ncols(),
            codebook,
            table,
            k,
            queries: None,
            points: side,
        }
    }

    /// Queries against other points of the same codebook.
    pub(crate) fn between(
        queries: &'a CodePoints<'_>,
        points: &'a CodePoints<'_>,
        metric: Metric,
    ) -> Result<Self, UmapError> {
        if queries.codebook != points.codebook {
            let text = |b: &CowArray<'_, f32, Ix2>| format!("codebook {:?}", b.dim());
            return Err(UmapError::shape(
                "the new points",
                format!("the fit's {}", text(&points.codebook)),
                format!("another {}", text(&queries.codebook)),
            ));
        }
        let (expected, found) = (points.codes.ncols(), queries.codes.ncols());
        if expected != found {
            return Err(UmapError::shape(
                "the new points",
                format!("[n, {expected}]"),
                format!("[n, {found}]"),
            ));
        }
        let mut space = Self::new(points, metric);
        space.queries = Some(Side::new(
            queries.flat(),
            found,
            space.codebook,
            &space.table,
            metric,
        ));
        Ok(space)
    }

    fn query_side(&self) -> &Side<'a> {
        self.queries.as_ref().unwrap_or(&self.points)
    }

    /// The sum over positions; the order is that of [`CodeSpace::row_sums`].
    fn sum(&self, x: &[u16], y: &[u16]) -> f32 {
        let mut sums = [0.0_f32; SUMS];
        let (xs, ys) = (x.chunks_exact(SUMS), y.chunks_exact(SUMS));
        let (tail_x, tail_y) = (xs.remainder(), ys.remainder());
        for (x, y) in xs.zip(ys) {
            for ((s, &x), &y) in sums.iter_mut().zip(x).zip(y) {
                *s += self.table[usize::from(x) * self.k + usize::from(y)];
            }
        }
        for ((s, &x), &y) in sums.iter_mut().zip(tail_x).zip(tail_y) {
            *s += self.table[usize::from(x) * self.k + usize::from(y)];
        }
        let [a, b, c, d, e, f, g, h] = sums;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    fn rank_of_sum(&self, sum: f32, i: usize, j: usize) -> f32 {
        if !self.metric.is_angular() {
            return sum;
        }
        let (x, y) = (self.query_side(), &self.points);
        let features = (self.positions * self.codebook.ncols()) as f32;
        let dot = sum - features * (x.mean[i] * y.mean[j]);
        angular(
            dot * (x.scale[i] * y.scale[j]),
            x.scale[i] == 0.0 && y.scale[j] == 0.0,
        )
    }
}

impl<'a> Side<'a> {
    fn new(
        codes: &'a [u16],
        positions: usize,
        codebook: ArrayView2<'_, f32>,
        table: &[f32],
        metric: Metric,
    ) -> Self {
        let n = codes.len() / positions;
        if !metric.is_angular() {
            return Self {
                codes,
                scale: vec![1.0; n],
                mean: vec![0.0; n],
            };
        }
        let k = codebook.nrows();
        let sums: Vec<f64> = codebook
            .rows()
            .into_iter()
            .map(|r| r.iter().map(|v| f64::from(*v)).sum())
            .collect();
        let features = (positions * codebook.ncols()) as f64;
        let stats: Vec<[f32; 2]> = codes
            .par_chunks(positions)
            .map(|row| {
                let total: f64 = row.iter().map(|&c| sums[usize::from(c)]).sum();
                let mean = if metric == Metric::Correlation {
                    total / features
                } else {
                    0.0
                };
                let square: f64 = row
                    .iter()
                    .map(|&c| f64::from(table[usize::from(c) * (k + 1)]))
                    .sum();
                let norm = (square - features * mean * mean).max(0.0).sqrt();
                [
                    if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 },
                    mean as f32,
                ]
            })
            .collect();
        Self {
            codes,
            scale: stats.iter().map(|s| s[0]).collect(),
            mean: stats.iter().map(|s| s[1]).collect(),
        }
    }

    fn row(&self, i: usize, positions: usize) -> &'a [u16] {
        &self.codes[i * positions..(i + 1) * positions]
    }
}

/// Sum of two codes, for every pair of them.
fn table(codebook: ArrayView2<'_, f32>, metric: Metric) -> Vec<f32> {
    let (k, d) = codebook.dim();
    let flat: Vec<f32> = codebook.iter().copied().collect();
    let vector = |i: usize| &flat[i * d..(i + 1) * d];
    let mut table = vec![0.0; k * k];
    table.par_chunks_mut(k).enumerate().for_each(|(i, row)| {
        for (j, value) in row.iter_mut().enumerate() {
            *value = match metric {
                Metric::Euclidean => metric::squared_euclidean(vector(i), vector(j)),
                Metric::Manhattan => metric::manhattan(vector(i), vector(j)),
                Metric::Cosine | Metric::Correlation => {
                    metric::centred_dot(vector(i), vector(j), 0.0, 0.0)
                }
            };
        }
    });
    table
}

impl Space for CodeSpace<'_> {
    fn queries(&self) -> usize {
        self.query_side().scale.len()
    }

    fn len(&self) -> usize {
        self.points.scale.len()
    }

    fn cost(&self) -> usize {
        // A table look-up costs about as much as 16 multiply-adds of a dense row.
        16 * self.positions
    }

    fn rank(&self, i: usize, j: usize) -> f32 {
        let x = self.query_side().row(i, self.positions);
        self.rank_of_sum(self.sum(x, self.points.row(j, self.positions)), i, j)
    }

    fn ranks(&self, i: usize, points: &[u32], scratch: &mut Scratch, out: &mut Vec<f32>) {
        let all = points.iter().map(|&j| j as usize);
        out.clear();
        out.resize(points.len(), 0.0);
        if out.is_empty() {
            return;
        }
        transpose(self, all.clone(), &mut scratch.codes);
        let codes = self.query_side().row(i, self.positions);
        self.row_sums(codes, &scratch.codes, points.len(), &mut scratch.sums, out);
        for (value, j) in out.iter_mut().zip(all) {
            *value = self.rank_of_sum(*value, i, j);
        }
    }

    fn joins(
        &self,
        points: &[u32],
        heads: usize,
        scratch: &mut Scratch,
        mut each: impl FnMut(u32, u32, f32),
    ) {
        let width = points.len();
        transpose(self, points.iter().map(|&j| j as usize), &mut scratch.codes);
        scratch.left.resize(width, 0.0);
        for (a, &i) in points[..heads].iter().enumerate() {
            let after = &points[a + 1..];
            if after.is_empty() {
                break;
            }
            let codes = self.points.row(i as usize, self.positions);
            let (others, out) = (&scratch.codes[a + 1..], &mut scratch.left[..after.len()]);
            self.row_sums(codes, others, width, &mut scratch.sums, out);
            for (&sum, &j) in out.iter().zip(after) {
                each(i, j, self.rank_of_sum(sum, i as usize, j as usize));
            }
        }
    }

    fn distance(&self, rank: f32) -> f32 {
        if self.metric == Metric::Euclidean {
            rank.sqrt()
        } else {
            rank
        }
    }

    fn block(
        &self,
        queries: Range<usize>,
        points: Range<usize>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let width = points.len();
        transpose(self, points.clone(), &mut scratch.codes);
        for (row, i) in out.chunks_exact_mut(width).zip(queries) {
            let codes = self.query_side().row(i, self.positions);
            self.row_sums(codes, &scratch.codes, width, &mut scratch.sums, row);
            for (value, j) in row.iter_mut().zip(points.clone()) {
                *value = self.rank_of_sum(*value, i, j);
            }
        }
    }

    fn slack(&self, _: usize, _: f32) -> f32 {
        // `row_sums` adds in the order of `sum`.
        0.0
    }

    fn features(&self) -> usize {
        if self.metric == Metric::Manhattan {
            0
        } else {
            self.positions * self.codebook.ncols()
        }
    }

    fn project(&self, basis: &Array2<f32>) -> Array2<f32> {
        project_codes(self, basis)
    }

    fn expand(&self, points: &[usize]) -> Option<Array2<f32>> {
        let d = self.codebook.ncols();
        let mut out = Vec::with_capacity(points.len() * self.positions * d);
        for &j in points {
            let (mean, scale) = (self.points.mean[j], self.points.scale[j]);
            for &code in self.points.row(j, self.positions) {
                out.extend(
                    self.codebook
                        .row(usize::from(code))
                        .iter()
                        .map(|v| (v - mean) * scale),
                );
            }
        }
        Array2::from_shape_vec((points.len(), self.positions * d), out).ok()
    }
}

impl CodeSpace<'_> {
    /// Sums of one query with a block of points given position by position: the table row of the query's code stays in
    /// the first-level cache while a whole block looks up in it. Position p of the points starts at `p * stride`.
    fn row_sums(
        &self,
        query: &[u16],
        transposed: &[u16],
        stride: usize,
        sums: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let width = out.len();
        sums.clear();
        sums.resize(SUMS * width, 0.0);
        for (p, (&code, points)) in query.iter().zip(transposed.chunks(stride)).enumerate() {
            let row = &self.table[usize::from(code) * self.k..][..self.k];
            let lane = &mut sums[(p % SUMS) * width..][..width];
            for (s, &c) in lane.iter_mut().zip(points) {
                *s += row[usize::from(c)];
            }
        }
        for (i, o) in out.iter_mut().enumerate() {
            let at = |lane: usize| sums[lane * width + i];
            *o = ((at(0) + at(4)) + (at(2) + at(6))) + ((at(1) + at(5)) + (at(3) + at(7)));
        }
    }
}

/// Codes of some points, position by position.
fn transpose(
    space: &CodeSpace<'_>,
    points: impl ExactSizeIterator<Item = usize>,
    out: &mut Vec<u16>,
) {
    let width = points.len();
    out.resize(width * space.positions, 0);
    for (column, j) in points.enumerate() {
        for (p, &code) in space.points.row(j, space.positions).iter().enumerate() {
            out[p * width + column] = code;
        }
    }
}
