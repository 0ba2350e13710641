use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::SpectrumError;
use crate::wide::wide;

/// Sums per pair that run side by side; fixed, so that every processor adds in the same order.
const LANES: usize = 8;

/// Points whose distances are taken together, so that every other point is read once for all of them.
const TOGETHER: usize = 8;

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
    if let Some(((row, column), value)) = x.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(SpectrumError::NotFinite {
            what: "rows to compare",
            row,
            column,
            value: value.to_string(),
        });
    }
    let x = x.as_standard_layout();
    let (points, width) = x.dim();
    let data = x.as_slice().unwrap_or(&[]);
    let mut values = vec![0.0; points * points.saturating_sub(1) / 2];
    rows_of(&mut values, points)
        .par_chunks_mut(TOGETHER)
        .enumerate()
        .for_each(|(group, rows)| {
            wide(
                #[inline(always)]
                || distances_from(data, width, group * TOGETHER, rows),
            );
        });
    Ok(CondensedDistances { points, values })
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
fn distances_from(data: &[f64], width: usize, first: usize, rows: &mut [&mut [f64]]) {
    for to in first + 1..data.len() / width.max(1) {
        let other = &data[to * width..][..width];
        for (from, out) in (first..to).zip(rows.iter_mut()) {
            out[to - from - 1] = squared_distance(&data[from * width..][..width], other).sqrt();
        }
    }
}

#[inline(always)]
fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in xs.iter().zip(ys) {
        for lane in 0..LANES {
            let difference = x[lane] - y[lane];
            sums[lane] += difference * difference;
        }
    }
    let rest: f64 = x_rest
        .iter()
        .zip(y_rest)
        .map(|(x, y)| (x - y) * (x - y))
        .sum();
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7])) + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn equals_the_plain_sum() {
        let x = Array2::from_shape_fn((23, 37), |(i, j)| ((i * 13 + j * 7) % 29) as f64 * 0.37);
        let distances = euclidean_distances(x.view()).unwrap();
        for i in 0..23 {
            for j in 0..23 {
                let plain = (&x.row(i) - &x.row(j)).mapv(|d| d * d).sum().sqrt();
                assert!((distances.get(i, j) - plain).abs() <= 1e-13 * plain);
            }
        }
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
