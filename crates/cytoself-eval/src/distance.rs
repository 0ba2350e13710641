use ndarray::{Array2, ArrayView2, Axis, LinalgScalar, Slice};
use rayon::prelude::*;

/// Rows per block of distances; fixed, so that no sum depends on the number of threads.
const BLOCK: usize = 64;

/// Up to this many columns differences are taken directly; above it the matrix product is much faster.
const DIRECT: usize = 32;

/// A coordinate type: `f32` or `f64`.
pub trait Coordinate:
    LinalgScalar + Send + Sync + Into<f64> + std::fmt::Display + sealed::Sealed
{
    /// Distance between 1 and the next larger number.
    const EPSILON: f64;

    /// The nearest value of this type.
    fn nearest(value: f64) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Coordinate for f32 {
    const EPSILON: f64 = f32::EPSILON as f64;

    fn nearest(value: f64) -> Self {
        value as f32
    }
}

impl Coordinate for f64 {
    const EPSILON: f64 = f64::EPSILON;

    fn nearest(value: f64) -> Self {
        value
    }
}

/// Squared Euclidean distances from blocks of rows to all rows.
pub(crate) struct SquaredDistances<T> {
    /// The points, centred so that the matrix product cancels less.
    points: Array2<T>,
    norms: Vec<f64>,
}

impl<T: Coordinate> SquaredDistances<T> {
    pub(crate) fn new(points: ArrayView2<'_, T>) -> Self {
        let mut points = points.as_standard_layout().into_owned();
        if points.ncols() > DIRECT {
            centre(&mut points);
        }
        let norms = points
            .outer_iter()
            .map(|row| row.iter().map(|&v| square(v.into())).sum())
            .collect();
        Self { points, norms }
    }

    pub(crate) fn len(&self) -> usize {
        self.points.nrows()
    }

    /// The direct, exact distance.
    pub(crate) fn exact(&self, i: usize, j: usize) -> f64 {
        self.points
            .row(i)
            .iter()
            .zip(self.points.row(j))
            .map(|(&a, &b)| square(a.into() - b.into()))
            .sum()
    }

    /// How far [`SquaredDistances::for_rows`] may be from [`SquaredDistances::exact`] for this pair.
    pub(crate) fn uncertainty(&self, i: usize, j: usize) -> f64 {
        let width = self.points.ncols();
        if width <= DIRECT {
            return 0.0;
        }
        // Rounding errors of a long sum grow like the square root of its length; eight times that is never reached.
        8.0 * (width as f64).sqrt() * T::EPSILON * (self.norms[i] + self.norms[j])
    }

    /// Calls `visit(row, distances to all rows)` for every row, in parallel, and collects the answers in row order.
    pub(crate) fn for_rows<R: Send>(&self, visit: impl Fn(usize, &[f64]) -> R + Sync) -> Vec<R> {
        let starts: Vec<usize> = (0..self.len()).step_by(BLOCK).collect();
        let blocks: Vec<Vec<R>> = starts
            .par_iter()
            .map(|&start| {
                let end = (start + BLOCK).min(self.len());
                let block = self.block(start, end);
                (start..end)
                    .zip(block.chunks_exact(self.len()))
                    .map(|(row, distances)| visit(row, distances))
                    .collect()
            })
            .collect();
        blocks.into_iter().flatten().collect()
    }

    fn block(&self, start: usize, end: usize) -> Vec<f64> {
        if self.points.ncols() <= DIRECT {
            return (start..end)
                .flat_map(|i| (0..self.len()).map(move |j| self.exact(i, j)))
                .collect();
        }
        let rows = self.points.slice_axis(Axis(0), Slice::from(start..end));
        let products: Array2<T> = rows.dot(&self.points.t());
        let mut out = Vec::with_capacity(products.len());
        for (i, row) in (start..end).zip(products.outer_iter()) {
            let distance = |(j, &product): (usize, &T)| {
                let product: f64 = product.into();
                if i == j {
                    0.0
                } else {
                    (self.norms[i] + self.norms[j] - 2.0 * product).max(0.0)
                }
            };
            out.extend(row.iter().enumerate().map(distance));
        }
        out
    }
}

fn centre<T: Coordinate>(points: &mut Array2<T>) {
    let rows = points.nrows().max(1) as f64;
    let mut means = vec![0.0; points.ncols()];
    for row in points.outer_iter() {
        means
            .iter_mut()
            .zip(row)
            .for_each(|(mean, &value)| *mean += value.into() / rows);
    }
    let means: Vec<T> = means.into_iter().map(T::nearest).collect();
    for mut row in points.outer_iter_mut() {
        row.iter_mut()
            .zip(&means)
            .for_each(|(value, &mean)| *value = *value - mean);
    }
}

fn square(x: f64) -> f64 {
    x * x
}
