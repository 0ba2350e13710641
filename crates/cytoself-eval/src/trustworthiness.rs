use ndarray::ArrayView2;

use crate::distance::{Coordinate, SquaredDistances};
use crate::neighbours::check_finite;
use crate::{EvalError, Exclusions, nearest_neighbours};

/// Share of a map's neighbourhoods that are neighbourhoods of the data too, 1 for a perfect map.
///
/// `1 - 2 / (n k (2n - 3k - 1)) sum_i sum_j max(0, r(i, j) - k)` over the `k` map neighbours `j` of `i`, with
/// `r(i, j)` the rank of `j` among the data neighbours of `i`. Swap the arguments for the *continuity*. Equal
/// distances rank by row.
///
/// # Shapes
/// `data: [n, d]`, `map: [n, m]`, finite; O(n^2 (d + m)).
///
/// # Errors
/// - data and map differ in the number of rows, or a coordinate is not finite;
/// - `k` is 0 or not below `n / 2`.
///
/// # References
/// Venna & Kaski 2001, doi:10.1007/3-540-44668-0_68.
///
/// # Example
/// ```
/// let data = ndarray::array![[0.0], [1.0], [2.0], [4.0], [8.0]];
/// let same = cytoself_eval::trustworthiness(data.view(), data.view(), 2)?;
/// assert_eq!(same, 1.0);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn trustworthiness<T: Coordinate, U: Coordinate>(
    data: ArrayView2<'_, T>,
    map: ArrayView2<'_, U>,
    k: usize,
) -> Result<f64, EvalError> {
    let n = data.nrows();
    if map.nrows() != n {
        return Err(EvalError::Shape {
            what: "points of the map",
            expected: n,
            found: map.nrows(),
        });
    }
    if k == 0 || 2 * k >= n {
        let expected = "at least 1 and below half the number of points";
        return Err(EvalError::Parameter {
            name: "k",
            found: k.to_string(),
            expected,
        });
    }
    check_finite(data)?;
    let neighbours = nearest_neighbours(map, k, &Exclusions::none())?;
    let penalties = SquaredDistances::new(data).for_rows(|row, distances| {
        let penalty = |&(j, _): &(usize, f64)| rank(distances, row, j).saturating_sub(k) as u64;
        neighbours.lists[row].iter().map(penalty).sum::<u64>()
    });
    let (n, k) = (n as f64, k as f64);
    Ok(1.0 - penalties.iter().sum::<u64>() as f64 * 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)))
}

/// Rank of `j` among the neighbours of `row`, 1 for the nearest.
fn rank(distances: &[f64], row: usize, j: usize) -> usize {
    let to = distances[j];
    let nearer = |(other, &d): (usize, &f64)| other != row && (d < to || (d == to && other < j));
    1 + distances
        .iter()
        .enumerate()
        .filter(|&pair| nearer(pair))
        .count()
}
