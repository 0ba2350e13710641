use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::EvalError;
use crate::distance::Coordinate;
use crate::neighbours::check_finite;
use crate::random::hash;
use crate::symmetric::eigen;

/// Columns that are searched beside those that are wanted, and rounds of the search (Halko et al.: a few of both).
const BESIDE: usize = 8;
const ROUNDS: usize = 6;

/// Rows on their first `count` principal components: the most variance that so few numbers can hold.
///
/// Randomised subspace iteration, so that thousands of columns cost little; for components that stand out it is exact to many
/// digits. The sign of a component is that which makes its largest score positive.
///
/// # Shapes
/// `points: [n, d]`, finite; returns `[n, min(count, n, d)]`, columns by falling variance.
///
/// # Errors
/// - `count` is 0, there is no point, or a coordinate is not finite.
///
/// # References
/// Halko, Martinsson & Tropp 2011, "Finding structure with randomness", doi:10.1137/090771806, algorithm 4.4.
///
/// # Example
/// ```
/// let points = ndarray::array![[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]];
/// let found = cytoself_eval::principal_components(points.view(), 1, 42)?;
/// // The points lie on a line, 5^0.5 apart.
/// assert!((found[[2, 0]].abs() - 5f64.sqrt()).abs() < 1e-12 && found[[1, 0]].abs() < 1e-12);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn principal_components<T: Coordinate>(
    points: ArrayView2<'_, T>,
    count: usize,
    seed: u64,
) -> Result<Array2<f64>, EvalError> {
    let (n, d) = points.dim();
    check_finite(points)?;
    let mut centred = points.mapv(Into::<f64>::into);
    let Some(mean) = centred.mean_axis(Axis(0)).filter(|_| count > 0 && d > 0) else {
        return Err(EvalError::TooFew {
            what: "points, dimensions and components",
            needed: 1,
            found: 0,
        });
    };
    centred -= &mean;
    let searched = (count + BESIDE).min(n).min(d);
    // Uniform numbers serve as well as normal ones.
    let start = Array2::from_shape_fn((d, searched), |(i, j)| {
        (hash(seed, i as u64, j as u64) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    });
    let mut basis = orthonormal(centred.dot(&start));
    for _ in 0..ROUNDS {
        let turned = orthonormal(centred.t().dot(&basis));
        basis = orthonormal(centred.dot(&turned));
    }
    let inside = basis.t().dot(&centred);
    let (values, vectors) = eigen(inside.dot(&inside.t()));
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(count);
    let mut scores = basis.dot(&vectors.select(Axis(1), &order));
    for (mut column, &at) in scores.axis_iter_mut(Axis(1)).zip(&order) {
        let largest = column
            .iter()
            .copied()
            .fold(0.0, |m: f64, v| if v.abs() > m.abs() { v } else { m });
        column *= values[at].max(0.0).sqrt() * largest.signum();
    }
    Ok(scores)
}

/// Columns of length 1 at right angles, spanning the same space; columns that add nothing become 0.
fn orthonormal(mut a: Array2<f64>) -> Array2<f64> {
    for j in 0..a.ncols() {
        let mut column: Array1<f64> = a.column(j).to_owned();
        let before = column.dot(&column).sqrt();
        // Twice is enough against rounding.
        for _ in 0..2 {
            for i in 0..j {
                let earlier = a.column(i);
                let share = earlier.dot(&column);
                column.scaled_add(-share, &earlier);
            }
        }
        let length = column.dot(&column).sqrt();
        let scale = if length > 1e-12 * before {
            1.0 / length
        } else {
            0.0
        };
        a.column_mut(j).assign(&(column * scale));
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::hash;

    #[test]
    fn all_variance_of_flat_data_in_its_own_axes() {
        let noise =
            |i: usize, j: usize| (hash(3, i as u64, j as u64) >> 11) as f64 / (1_u64 << 53) as f64;
        // Three hidden axes of different strength in forty dimensions.
        let hidden = Array2::from_shape_fn((120, 3), |(i, j)| noise(i, j) * [9.0, 3.0, 1.0][j]);
        let mix = Array2::from_shape_fn((3, 40), |(i, j)| noise(1000 + i, j) - 0.5);
        let points = hidden.dot(&mix);
        let found = principal_components(points.view(), 5, 1).unwrap();
        assert_eq!(found.dim(), (120, 5));
        let distance = |a: &Array2<f64>, i: usize, j: usize| {
            let d = &a.row(i) - &a.row(j);
            d.dot(&d).sqrt()
        };
        for (i, j) in [(0, 1), (5, 70), (119, 40)] {
            assert!((distance(&found, i, j) - distance(&points, i, j)).abs() < 1e-9);
        }
        let variance = found.var_axis(Axis(0), 0.0);
        assert!(variance[0] > variance[1] && variance[1] > variance[2] && variance[3] < 1e-18);
        assert_eq!(found, principal_components(points.view(), 5, 1).unwrap());
    }

    #[test]
    fn nothing_is_refused() {
        assert!(principal_components(Array2::<f64>::zeros((0, 3)).view(), 2, 1).is_err());
        assert!(principal_components(Array2::<f64>::zeros((3, 3)).view(), 0, 1).is_err());
        assert!(principal_components(Array2::from_elem((3, 3), f64::NAN).view(), 1, 1).is_err());
    }
}
