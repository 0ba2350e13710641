use ndarray::ArrayView2;

use crate::SpectrumError;
use crate::error::check_finite;
use crate::panels::Panels;

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
    let points = x.nrows();
    let mut values = vec![0.0; points * points.saturating_sub(1) / 2];
    Panels::of_rows(x).pairs(
        &mut rows_of(&mut values, points),
        #[inline(always)]
        |sum, a, b| (a - b).mul_add(a - b, sum),
        f64::sqrt,
    );
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn sample(points: usize, width: usize) -> Array2<f64> {
        Array2::from_shape_fn((points, width), |(i, j)| {
            ((i * 13 + j * 7) % 29) as f64 * 0.37
        })
    }

    #[test]
    fn equals_the_plain_sum() {
        for (points, width) in [(2, 1), (23, 37), (75, 8), (51, 2054)] {
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
    fn equal_rows_have_distance_zero_exactly() {
        let x = Array2::from_elem((3, 1000), 0.123_456_789);
        assert_eq!(euclidean_distances(x.view()).unwrap().values(), [0.0; 3]);
    }

    #[test]
    fn points_without_coordinates_coincide() {
        let distances = euclidean_distances(Array2::zeros((3, 0)).view()).unwrap();
        assert_eq!(distances.values(), [0.0; 3]);
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
