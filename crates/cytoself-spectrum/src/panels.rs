use std::array::from_fn;

use ndarray::{ArrayView2, Axis, Slice};
use rayon::prelude::*;

use crate::wide::wide;

/// Values of one operation.
const LANES: usize = 4;

/// Points of a panel.
pub(crate) const PANEL: usize = 12;

/// Points of a panel that meet all points of another at once: their sums stay in registers.
const ROWS: usize = 3;

/// Panels that share one reading of all panels behind them.
const TOGETHER: usize = 4;

/// Coordinates taken at once, so that two panels stay in the first cache.
const DEPTH: usize = 128;

/// One coordinate of all points of a panel.
pub(crate) type Coordinate = [f64; PANEL];

/// Sums of all pairs of two panels.
type Sums = [[f64; PANEL]; PANEL];

/// Points in panels of twelve, coordinate by coordinate: the order in which all pairs read them.
///
/// Every sum runs over the coordinates from first to last, whatever the processor and the number of threads.
pub(crate) struct Panels {
    points: usize,
    width: usize,
    coordinates: Vec<Coordinate>,
}

impl Panels {
    /// Takes the rows of `x: [points, width]`, in any layout; zeros fill the last panel.
    pub(crate) fn of_rows(x: ArrayView2<'_, f64>) -> Self {
        let (points, width) = x.dim();
        let mut coordinates = vec![[0.0; PANEL]; points.div_ceil(PANEL) * width];
        coordinates
            .par_chunks_mut(width.max(1))
            .enumerate()
            .for_each(|(panel, coordinates)| {
                let from = panel * PANEL;
                let rows = Slice::from(from..(from + PANEL).min(points));
                let rows = x.slice_axis(Axis(0), rows);
                for (to, from) in coordinates.iter_mut().zip(rows.axis_iter(Axis(1))) {
                    to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
                }
            });
        Self {
            points,
            width,
            coordinates,
        }
    }

    /// Changes every panel by `change`; what that returns comes point by point. Points without coordinates have no panels.
    pub(crate) fn change<R: Send>(
        &mut self,
        change: impl Fn(&mut [Coordinate]) -> [R; PANEL] + Sync,
    ) -> Vec<R> {
        let panels = self.coordinates.par_chunks_mut(self.width.max(1));
        let mut results: Vec<R> = panels
            .flat_map_iter(|panel| {
                wide(
                    #[inline(always)]
                    || change(panel),
                )
            })
            .collect();
        results.truncate(self.points);
        results
    }

    /// For every pair of points `i < j`, the sum that `term(sum, a, b)` makes of their coordinates `a` and `b`, as `finish` returns
    /// it, in element `j - i - 1` of slice `i` of `out`.
    pub(crate) fn pairs(
        &self,
        out: &mut [&mut [f64]],
        term: impl Fn(f64, f64, f64) -> f64 + Copy + Sync,
        finish: impl Fn(f64) -> f64 + Copy + Sync,
    ) {
        out.par_chunks_mut(TOGETHER * PANEL)
            .enumerate()
            .for_each(|(group, out)| {
                wide(
                    #[inline(always)]
                    || self.pairs_of(group * TOGETHER, out, term, finish),
                );
            });
    }

    fn panel(&self, panel: usize) -> &[Coordinate] {
        &self.coordinates[panel * self.width..][..self.width]
    }

    /// The pairs of the points of a group of panels from `first` on, one point per slice of `out`, with all points behind each.
    #[inline(always)]
    fn pairs_of(
        &self,
        first: usize,
        out: &mut [&mut [f64]],
        term: impl Fn(f64, f64, f64) -> f64 + Copy,
        finish: impl Fn(f64) -> f64,
    ) {
        let panels = self.points.div_ceil(PANEL);
        let last = (first + TOGETHER).min(panels);
        for to in first..panels {
            let mut sums = [[[0.0; PANEL]; PANEL]; TOGETHER];
            let others = self.panel(to).chunks(DEPTH);
            for (depth, others) in others.enumerate() {
                for (from, sums) in (first..last.min(to + 1)).zip(&mut sums) {
                    let from = &self.panel(from)[depth * DEPTH..][..others.len()];
                    add_pairs(sums, from, others, term);
                }
            }
            for (row, (out, sums)) in out.iter_mut().zip(sums.as_flattened()).enumerate() {
                let from = first * PANEL + row;
                // On the diagonal only the pairs behind it, and none beyond the last point.
                let skipped = (from + 1).saturating_sub(to * PANEL).min(PANEL);
                let at = (to * PANEL + skipped).saturating_sub(from + 1);
                let out = out.get_mut(at..).unwrap_or_default();
                for (out, &sum) in out.iter_mut().zip(&sums[skipped..]) {
                    *out = finish(sum);
                }
            }
        }
    }
}

/// Adds the terms of every point of `from` with every point of `to`, panels of equal length.
#[inline(always)]
fn add_pairs(
    sums: &mut Sums,
    from: &[Coordinate],
    to: &[Coordinate],
    term: impl Fn(f64, f64, f64) -> f64 + Copy,
) {
    for (rows, sums) in sums.chunks_exact_mut(ROWS).enumerate() {
        let mut tile: [[[f64; LANES]; PANEL / LANES]; ROWS] =
            from_fn(|row| from_fn(|part| from_fn(|lane| sums[row][part * LANES + lane])));
        for (from, to) in from.iter().zip(to) {
            let from: [f64; ROWS] = from_fn(|row| from[rows * ROWS + row]);
            for (sums, from) in tile.iter_mut().zip(from) {
                for (part, sums) in sums.iter_mut().enumerate() {
                    for (lane, sum) in sums.iter_mut().enumerate() {
                        *sum = term(*sum, from, to[part * LANES + lane]);
                    }
                }
            }
        }
        for (sums, tile) in sums.iter_mut().zip(&tile) {
            sums.copy_from_slice(tile.as_flattened());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn sample(points: usize, width: usize) -> Array2<f64> {
        Array2::from_shape_fn((points, width), |(i, j)| {
            ((i * 13 + j * 7) % 29) as f64 * 0.37 - 3.0
        })
    }

    fn behind(values: &mut Array2<f64>) -> Vec<&mut [f64]> {
        let points = values.nrows();
        let values = values.as_slice_mut().unwrap().chunks_exact_mut(points);
        let rows = values.enumerate().map(|(i, row)| &mut row[i + 1..]);
        rows.collect()
    }

    fn product(sum: f64, a: f64, b: f64) -> f64 {
        a.mul_add(b, sum)
    }

    #[test]
    fn every_pair_has_its_sum() {
        // Parts of a panel, of a group of panels, and of the coordinates taken at once.
        for (points, width) in [(1, 3), (2, 1), (12, 7), (13, 37), (75, 8), (51, DEPTH + 6)] {
            let x = sample(points, width);
            for x in [x.view(), sample(width, points).t()] {
                let mut sums = Array2::from_elem((points, points), f64::NAN);
                Panels::of_rows(x).pairs(&mut behind(&mut sums), product, |sum| sum);
                for ((i, j), sum) in sums.indexed_iter() {
                    let plain = x.row(i).dot(&x.row(j));
                    assert_eq!(sum.is_nan(), j <= i, "{i} {j}");
                    assert!(j <= i || (sum - plain).abs() <= 1e-11, "{i} {j}");
                }
            }
        }
    }

    #[test]
    fn same_bits_on_every_processor_and_with_any_number_of_threads() {
        let panels = Panels::of_rows(sample(60, 37).view());
        let run = |threads| {
            let mut sums = Array2::zeros((60, 60));
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap()
                .install(|| panels.pairs(&mut behind(&mut sums), product, |sum| sum));
            sums
        };
        // One coordinate after the other.
        let x = sample(60, 37);
        let plain = Array2::from_shape_fn((60, 60), |(i, j)| {
            let pairs = x.row(i).into_iter().zip(x.row(j));
            let sum = pairs.fold(0.0, |sum, (&a, &b)| product(sum, a, b));
            if i < j { sum } else { 0.0 }
        });
        assert_eq!(run(1), plain);
        assert_eq!(run(3), plain);
    }

    #[test]
    fn a_change_reports_every_point_once() {
        let mut panels = Panels::of_rows(sample(13, 2).view());
        let sums = panels.change(|panel| from_fn(|point| panel[0][point] + panel[1][point]));
        assert_eq!(sums, sample(13, 2).sum_axis(Axis(1)).to_vec());
    }
}
