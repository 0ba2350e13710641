//! Dense rows.

use std::ops::Range;

use gemm::{Parallelism, gemm};
use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2};
use rayon::prelude::*;

use super::space::{Scratch, Space, block_by_pairs};
use super::{not_empty, row_major};
use crate::UmapError;
use crate::hash::content_hash;
use crate::metric::{self, Metric};

/// Rows of finite numbers in row-major order.
#[derive(Debug, Clone)]
pub struct DensePoints<'a> {
    rows: CowArray<'a, f32, Ix2>,
}

impl<'a> DensePoints<'a> {
    pub(crate) fn new(rows: CowArray<'a, f32, Ix2>) -> Result<Self, UmapError> {
        not_empty("the points", &rows)?;
        let rows = row_major(rows);
        check_finite(rows.view())?;
        Ok(Self { rows })
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> ArrayView2<'_, f32> {
        self.rows.view()
    }

    pub(crate) fn select(&self, rows: &[usize]) -> DensePoints<'static> {
        DensePoints {
            rows: CowArray::from(self.rows.select(Axis(0), rows)),
        }
    }

    pub(crate) fn content_hash(&self) -> u64 {
        content_hash("dense", self.rows.dim(), self.flat(), |v| v.to_bits())
    }

    fn flat(&self) -> &[f32] {
        // Row-major since `new`.
        self.rows.as_slice().unwrap_or(&[])
    }
}

/// Rejects NaN and infinities, naming the first.
pub(crate) fn check_finite(rows: ArrayView2<'_, f32>) -> Result<(), UmapError> {
    let flat = rows.as_slice().unwrap_or(&[]);
    let columns = rows.ncols();
    let bad = flat
        .par_chunks(columns)
        .position_first(|row| row.iter().any(|v| !v.is_finite()));
    match bad {
        None => Ok(()),
        Some(row) => {
            let column = rows
                .row(row)
                .iter()
                .position(|v| !v.is_finite())
                .unwrap_or(0);
            Err(UmapError::NotFinite {
                row,
                column,
                value: rows[[row, column]],
            })
        }
    }
}

/// One side of a dense search: the rows with what is known of each.
struct Side<'a> {
    rows: &'a [f32],
    /// Subtracted from every number of a row: its mean for the correlation, else 0.
    shift: Vec<f32>,
    /// 1 / norm for the angular metrics, else 1; 0 for a zero row.
    scale: Vec<f32>,
    /// Squared norm after centring (Euclidean), 1 for the angular metrics.
    norm: Vec<f32>,
}

/// Dense rows under a metric.
pub(crate) struct DenseSpace<'a> {
    metric: Metric,
    columns: usize,
    centre: Vec<f32>,
    queries: Option<Side<'a>>,
    points: Side<'a>,
}

impl<'a> DenseSpace<'a> {
    pub(crate) fn new(points: &'a DensePoints<'_>, metric: Metric) -> Self {
        let centre = centre(points.flat(), points.rows.ncols(), metric);
        let side = Side::new(points.flat(), &centre, metric);
        Self {
            metric,
            columns: centre.len(),
            centre,
            queries: None,
            points: side,
        }
    }

    /// Queries against other points; both must have the same number of columns.
    pub(crate) fn between(
        queries: &'a DensePoints<'_>,
        points: &'a DensePoints<'_>,
        metric: Metric,
    ) -> Result<Self, UmapError> {
        let (expected, found) = (points.rows.ncols(), queries.rows.ncols());
        if expected != found {
            return Err(UmapError::shape(
                "the new points",
                format!("[n, {expected}]"),
                format!("[n, {found}]"),
            ));
        }
        let mut space = Self::new(points, metric);
        space.queries = Some(Side::new(queries.flat(), &space.centre, metric));
        Ok(space)
    }

    fn query_side(&self) -> &Side<'a> {
        self.queries.as_ref().unwrap_or(&self.points)
    }

    fn pack(&self, side: &Side<'_>, range: Range<usize>, out: &mut Vec<f32>) {
        out.clear();
        out.reserve(range.len() * self.columns);
        for i in range {
            let (shift, scale) = (side.shift[i], side.scale[i]);
            out.extend(
                side.row(i, self.columns)
                    .iter()
                    .zip(&self.centre)
                    .map(|(v, c)| (v - c - shift) * scale),
            );
        }
    }
}

impl<'a> Side<'a> {
    fn new(rows: &'a [f32], centre: &[f32], metric: Metric) -> Self {
        let columns = centre.len();
        let stats: Vec<[f32; 3]> = rows
            .par_chunks(columns)
            .map(|row| row_stats(row, centre, metric))
            .collect();
        Self {
            rows,
            shift: stats.iter().map(|s| s[0]).collect(),
            scale: stats.iter().map(|s| s[1]).collect(),
            norm: stats.iter().map(|s| s[2]).collect(),
        }
    }

    fn row(&self, i: usize, columns: usize) -> &'a [f32] {
        &self.rows[i * columns..(i + 1) * columns]
    }
}

/// Shift, scale and squared norm of one row.
fn row_stats(row: &[f32], centre: &[f32], metric: Metric) -> [f32; 3] {
    if !metric.is_angular() {
        return [0.0, 1.0, metric::squared_euclidean(row, centre)];
    }
    let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / row.len() as f64;
    let shift = if metric == Metric::Correlation {
        mean as f32
    } else {
        0.0
    };
    let norm = metric::centred_dot(row, row, shift, shift).sqrt();
    let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    [shift, scale, 1.0]
}

/// Column means for the Euclidean metric, which make the norms small and the block products precise; else zeros.
fn centre(rows: &[f32], columns: usize, metric: Metric) -> Vec<f32> {
    if metric != Metric::Euclidean {
        return vec![0.0; columns];
    }
    let n = rows.len() / columns;
    // Any fixed point near the middle serves: at most 1024 rows, evenly spread.
    let step = n.div_ceil(1024).max(1);
    let mut sum = vec![0.0_f64; columns];
    let mut count = 0.0;
    for row in rows.chunks_exact(columns).step_by(step) {
        sum.iter_mut()
            .zip(row)
            .for_each(|(s, v)| *s += f64::from(*v));
        count += 1.0;
    }
    sum.iter().map(|s| (s / count) as f32).collect()
}

impl Space for DenseSpace<'_> {
    fn queries(&self) -> usize {
        self.query_side().norm.len()
    }

    fn len(&self) -> usize {
        self.points.norm.len()
    }

    fn cost(&self) -> usize {
        self.columns
    }

    fn rank(&self, i: usize, j: usize) -> f32 {
        let (queries, points) = (self.query_side(), &self.points);
        let (x, y) = (queries.row(i, self.columns), points.row(j, self.columns));
        match self.metric {
            Metric::Euclidean => metric::squared_euclidean(x, y),
            Metric::Manhattan => metric::manhattan(x, y),
            Metric::Cosine | Metric::Correlation => {
                let dot = metric::centred_dot(x, y, queries.shift[i], points.shift[j]);
                let scale = queries.scale[i] * points.scale[j];
                angular(
                    dot * scale,
                    queries.scale[i] == 0.0 && points.scale[j] == 0.0,
                )
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
        if self.metric == Metric::Manhattan {
            return block_by_pairs(self, queries, points, out);
        }
        self.pack(self.query_side(), queries.clone(), &mut scratch.left);
        self.pack(&self.points, points.clone(), &mut scratch.right);
        products(&scratch.left, &scratch.right, self.columns, out);
        let angular = self.metric.is_angular();
        for (row, i) in out.chunks_exact_mut(points.len()).zip(queries) {
            let norm = self.query_side().norm[i];
            for (value, j) in row.iter_mut().zip(points.clone()) {
                *value = if angular {
                    1.0 - *value
                } else {
                    norm + self.points.norm[j] - 2.0 * *value
                };
            }
        }
    }

    fn slack(&self, i: usize, rank: f32) -> f32 {
        // A product of two rows is off by about sqrt(d) roundings of |x||y|; eight times that is never seen.
        let unit = 8.0 * f32::EPSILON * (1.0 + (self.columns as f32).sqrt());
        match self.metric {
            Metric::Manhattan => 0.0,
            Metric::Cosine | Metric::Correlation => unit,
            Metric::Euclidean => {
                let norm = self.query_side().norm[i];
                let other = norm.sqrt() + rank.max(0.0).sqrt();
                unit * (norm + other * other)
            }
        }
    }

    fn features(&self) -> usize {
        if self.metric == Metric::Manhattan {
            0
        } else {
            self.columns
        }
    }

    fn expand(&self, points: &[usize]) -> Option<Array2<f32>> {
        let mut out = Vec::with_capacity(points.len() * self.columns);
        for &j in points {
            let (shift, scale) = (self.points.shift[j], self.points.scale[j]);
            out.extend(
                self.points
                    .row(j, self.columns)
                    .iter()
                    .map(|v| (v - shift) * scale),
            );
        }
        Array2::from_shape_vec((points.len(), self.columns), out).ok()
    }
}

/// 1 - cosine, kept at or above 0.
pub(crate) fn angular(cosine: f32, both_zero: bool) -> f32 {
    if both_zero {
        0.0
    } else {
        (1.0 - cosine).max(0.0)
    }
}

/// `out[i, j] = left[i] . right[j]` for rows of `columns` numbers, on the calling thread.
pub(crate) fn products(left: &[f32], right: &[f32], columns: usize, out: &mut [f32]) {
    let (m, n) = (left.len() / columns, right.len() / columns);
    assert!(out.len() >= m * n && left.len() == m * columns && right.len() == n * columns);
    let stride = columns as isize;
    // SAFETY: the three buffers hold m x columns, n x columns and m x n numbers in row-major order (asserted above), the
    // strides given describe exactly these, and `out` does not alias the inputs because it is borrowed mutably.
    unsafe {
        gemm(
            m,
            n,
            columns,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            left.as_ptr(),
            1,
            stride,
            right.as_ptr(),
            stride,
            1,
            0.0_f32,
            1.0_f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
