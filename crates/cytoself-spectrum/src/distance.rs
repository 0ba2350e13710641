use std::array::from_fn;
use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2, Slice};
use rayon::prelude::*;

use crate::SpectrumError;
use crate::error::check_finite;
use crate::wide::wide;

/// Sums per pair that run side by side; fixed, so that every processor adds in the same order.
const LANES: usize = 4;

/// Rows that meet as many others at once: nine pairs keep their sums in registers and share what is read.
const TILE: usize = 3;

/// First points that share one reading of all points behind them.
const TOGETHER: usize = 8 * TILE;

/// Lanes of a row taken at once, so that the rows of a tile stay in the first cache.
const COLUMNS: usize = 512;

type Lanes = [f64; LANES];
type Tile = [[Lanes; TILE]; TILE];

/// Distances of all pairs `i < j`, row by row, as SciPy's `pdist` lays them out.
#[derive(Debug, Clone, PartialEq)]
pub struct CondensedDistances {
    points: usize,
    values: Vec<f64>,
}

impl CondensedDistances {
    /// Takes distances in condensed layout.
    ///
    /// # Errors
    /// - `values` does not hold `points * (points - 1) / 2` numbers;
    /// - a distance is NaN, infinite or negative.
    pub fn new(points: usize, values: Vec<f64>) -> Result<Self, SpectrumError> {
        let expected = points * points.saturating_sub(1) / 2;
        if values.len() != expected {
            let what = "condensed distances";
            return Err(SpectrumError::Shape {
                what,
                expected,
                found: values.len(),
            });
        }
        match values.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
            Some(at) => {
                let (row, column) = pair_at(points, at);
                Err(SpectrumError::NotFinite {
                    what: "distances",
                    row,
                    column,
                    value: values[at].to_string(),
                })
            }
            None => Ok(Self { points, values }),
        }
    }

    /// Number of points.
    #[must_use]
    pub fn points(&self) -> usize {
        self.points
    }

    /// The distances in condensed layout.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Distance of points `i` and `j`.
    ///
    /// # Panics
    /// Where `i` or `j` is not below [`CondensedDistances::points`].
    #[must_use]
    pub fn get(&self, i: usize, j: usize) -> f64 {
        assert!(
            i < self.points && j < self.points,
            "pair ({i}, {j}) of {} points",
            self.points
        );
        match i.cmp(&j) {
            std::cmp::Ordering::Equal => 0.0,
            std::cmp::Ordering::Less => self.values[row_start(self.points, i) + j - i - 1],
            std::cmp::Ordering::Greater => self.values[row_start(self.points, j) + i - j - 1],
        }
    }

    /// Length of the path through all points in `order`.
    ///
    /// # Panics
    /// Where `order` names a point that does not exist.
    #[must_use]
    pub fn path_length(&self, order: &[usize]) -> f64 {
        order
            .windows(2)
            .map(|pair| self.get(pair[0], pair[1]))
            .sum()
    }
}

/// Position of the pair (i, i + 1) in the condensed layout.
fn row_start(points: usize, i: usize) -> usize {
    i * (2 * points - i - 1) / 2
}

fn pair_at(points: usize, at: usize) -> (usize, usize) {
    let row = (0..points)
        .rev()
        .find(|&i| row_start(points, i) <= at)
        .unwrap_or(0);
    (row, at - row_start(points, row) + row + 1)
}

/// Euclidean distances of all pairs of rows, from direct differences.
///
/// `|x|^2 + |y|^2 - 2 x.y` would be faster but cancels for near rows and then changes the order of merges.
///
/// # Shapes
/// `x: [n, d]`, finite.
///
/// # Errors
/// - a value is NaN or infinite.
///
/// # Example
/// ```
/// let x = ndarray::array![[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]];
/// let distances = cytoself_spectrum::euclidean_distances(x.view())?;
/// assert_eq!(distances.values(), [5.0, 1.0, 18.0f64.sqrt()]);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
pub fn euclidean_distances(x: ArrayView2<'_, f64>) -> Result<CondensedDistances, SpectrumError> {
    check_finite("rows to compare", x)?;
    let (points, width) = x.dim();
    let x = in_whole_lanes(&x);
    let (lanes, _) = x.as_slice().unwrap_or(&[]).as_chunks::<LANES>();
    let mut values = vec![0.0; points * points.saturating_sub(1) / 2];
    rows_of(&mut values, points)
        .par_chunks_mut(TOGETHER)
        .enumerate()
        .for_each(|(group, rows)| {
            wide(
                #[inline(always)]
                || distances_from(lanes, width.div_ceil(LANES), group * TOGETHER, rows),
            );
        });
    Ok(CondensedDistances { points, values })
}

/// Rows that end on a whole number of lanes: zeros behind all of them alike change no distance.
fn in_whole_lanes<'a>(x: &'a ArrayView2<'_, f64>) -> CowArray<'a, f64, Ix2> {
    let (points, width) = x.dim();
    if width.is_multiple_of(LANES) {
        return x.as_standard_layout();
    }
    let mut padded = Array2::zeros((points, width.next_multiple_of(LANES)));
    padded
        .slice_axis_mut(Axis(1), Slice::from(..width))
        .assign(x);
    padded.into()
}

/// The condensed layout cut into one slice per first point.
fn rows_of(mut values: &mut [f64], points: usize) -> Vec<&mut [f64]> {
    let mut rows = Vec::with_capacity(points);
    for i in 0..points.saturating_sub(1) {
        let (row, rest) = values.split_at_mut(points - i - 1);
        rows.push(row);
        values = rest;
    }
    rows
}

/// Distances of the points from `first` on, one per slice of `rows`, to all points behind each.
#[inline(always)]
fn distances_from(data: &[Lanes], width: usize, first: usize, rows: &mut [&mut [f64]]) {
    let last = (data.len() / width.max(1)).saturating_sub(1);
    let part = |point: usize, columns: &Range<usize>| {
        &data[point.min(last) * width..][..width][columns.clone()]
    };
    for to in (first + 1..=last).step_by(TILE) {
        let mut sums = [Tile::default(); TOGETHER / TILE];
        for start in (0..width).step_by(COLUMNS) {
            let columns = start..(start + COLUMNS).min(width);
            let others = from_fn(|j| part(to + j, &columns));
            for (tile, sums) in sums.iter_mut().enumerate() {
                let from = first + tile * TILE;
                add_squares(sums, from_fn(|i| part(from + i, &columns)), others);
            }
        }
        for (row, out) in rows.iter_mut().enumerate() {
            let from = first + row;
            for (j, sum) in sums[row / TILE][row % TILE].iter().enumerate() {
                // Beyond the last point and below the diagonal stand pairs that only fill the tile.
                if let Some(out) = (to + j)
                    .checked_sub(from + 1)
                    .and_then(|at| out.get_mut(at))
                {
                    *out = ((sum[0] + sum[2]) + (sum[1] + sum[3])).sqrt();
                }
            }
        }
    }
}

/// Adds the squared differences of every row of `from` and every row of `to`, all of one length.
#[inline(always)]
fn add_squares(sums: &mut Tile, from: [&[Lanes]; TILE], to: [&[Lanes]; TILE]) {
    let width = from[0].len();
    let (from, to) = (from.map(|row| &row[..width]), to.map(|row| &row[..width]));
    let mut tile = *sums;
    for column in 0..width {
        for (sums, from) in tile.iter_mut().zip(from) {
            for (sums, to) in sums.iter_mut().zip(to) {
                for lane in 0..LANES {
                    let difference = from[column][lane] - to[column][lane];
                    sums[lane] = difference.mul_add(difference, sums[lane]);
                }
            }
        }
    }
    *sums = tile;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(points: usize, width: usize) -> Array2<f64> {
        Array2::from_shape_fn((points, width), |(i, j)| {
            ((i * 13 + j * 7) % 29) as f64 * 0.37
        })
    }

    #[test]
    fn equals_the_plain_sum() {
        // Parts of a tile, of a group of tiles, of the lanes, and of the columns taken at once.
        for (points, width) in [(2, 1), (23, 37), (75, 8), (51, COLUMNS * LANES + 6)] {
            let x = sample(points, width);
            let distances = euclidean_distances(x.view()).unwrap();
            for i in 0..points {
                for j in 0..points {
                    let plain = (&x.row(i) - &x.row(j)).mapv(|d| d * d).sum().sqrt();
                    assert!((distances.get(i, j) - plain).abs() <= 1e-13 * plain);
                }
            }
        }
    }

    #[test]
    fn same_bits_on_every_processor_and_with_any_number_of_threads() {
        let x = sample(60, 37);
        let run = |threads| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap()
                .install(|| euclidean_distances(x.view()).unwrap())
        };
        let mut plain = vec![0.0; 60 * 59 / 2];
        let view = x.view();
        let padded = in_whole_lanes(&view);
        let (lanes, _) = padded.as_slice().unwrap().as_chunks();
        for (group, rows) in rows_of(&mut plain, 60).chunks_mut(TOGETHER).enumerate() {
            distances_from(lanes, 37usize.div_ceil(LANES), group * TOGETHER, rows);
        }
        assert_eq!(run(1).values(), plain);
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn equal_rows_have_distance_zero_exactly() {
        let x = Array2::from_elem((3, 1000), 0.123_456_789);
        assert_eq!(euclidean_distances(x.view()).unwrap().values(), [0.0; 3]);
    }

    #[test]
    fn nothing_and_one_point() {
        for points in [0, 1] {
            let distances = euclidean_distances(Array2::zeros((points, 4)).view()).unwrap();
            assert!(distances.values().is_empty());
        }
    }

    #[test]
    fn bad_condensed_input_is_named() {
        assert!(CondensedDistances::new(3, vec![1.0, 2.0]).is_err());
        let error = CondensedDistances::new(3, vec![1.0, 2.0, f64::NAN]).unwrap_err();
        assert!(
            matches!(
                error,
                SpectrumError::NotFinite {
                    row: 1,
                    column: 2,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn every_pair_has_its_place() {
        for points in 2..9 {
            let mut at = 0;
            for i in 0..points {
                for j in i + 1..points {
                    assert_eq!(pair_at(points, at), (i, j));
                    assert_eq!(row_start(points, i) + j - i - 1, at);
                    at += 1;
                }
            }
        }
    }
}
