use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::SpectrumError;
use crate::error::check_finite;
use crate::panels::Panels;

/// Columns that become rows together, so that what stands beside a value in memory is used while it is at hand.
const TRANSPOSED: usize = 16;

/// Pearson correlations of all pairs of columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    /// `[codes, codes]`, exactly symmetric, within [-1, 1]; 1 on the diagonal. Row, column and diagonal of a constant
    /// column are 0.
    pub matrix: Array2<f64>,
    /// Whether a column is constant, so that its correlation is undefined.
    pub constant: Vec<bool>,
}

/// Pearson correlation of every pair of columns, as one matrix product of the standardised columns.
///
/// `C[a, b] = sum_p z_a(p) z_b(p)` with `z = (x - mean) / |x - mean|`. A constant column (a code that no protein
/// uses, or all use alike) has no correlation: its row, column and diagonal are 0 and the other entries do not notice.
///
/// # Shapes
/// `x: [proteins, codes]`, finite; returns `[codes, codes]`.
///
/// # Errors
/// - fewer than two rows;
/// - a value is NaN or infinite (a protein without images must be left out, not averaged over nothing).
///
/// # Example
/// ```
/// let x = ndarray::array![[1.0, 2.0, 5.0], [2.0, 4.0, 5.0], [3.0, 5.0, 5.0]];
/// let c = cytoself_spectrum::pearson_columns(x.view())?;
/// assert!((c.matrix[[0, 1]] - 0.981_980_506_061_966).abs() < 1e-14);
/// assert_eq!(c.constant, [false, false, true]);
/// assert_eq!(c.matrix[[2, 2]], 0.0);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
pub fn pearson_columns(x: ArrayView2<'_, f64>) -> Result<Correlation, SpectrumError> {
    check(x)?;
    let mut columns = Panels::of_rows(x.t());
    let constant = columns.change(standardise);
    let codes = x.ncols();
    let mut matrix = Array2::<f64>::zeros((codes, codes));
    let mut upper: Vec<_> = matrix
        .as_slice_mut()
        .unwrap_or_default()
        .chunks_exact_mut(codes.max(1))
        .enumerate()
        .map(|(code, row)| &mut row[code + 1..])
        .collect();
    columns.pairs(
        &mut upper,
        #[inline(always)]
        |sum, a, b| a.mul_add(b, sum),
        |r| r.clamp(-1.0, 1.0),
    );
    mirror_upper_triangle(&mut matrix);
    for (code, &constant) in constant.iter().enumerate() {
        matrix[[code, code]] = if constant { 0.0 } else { 1.0 };
    }
    Ok(Correlation { matrix, constant })
}

/// Pearson correlation of two vectors; `None` where one of them is constant or they differ in length.
///
/// # Example
/// ```
/// use ndarray::aview1;
/// let r = cytoself_spectrum::pearson(aview1(&[1.0, 2.0, 3.0]), aview1(&[2.0, 4.0, 5.0])).unwrap();
/// assert!((r - 0.981_980_506_061_966).abs() < 1e-14);
/// assert_eq!(cytoself_spectrum::pearson(aview1(&[1.0, 1.0]), aview1(&[2.0, 4.0])), None);
/// ```
#[must_use]
pub fn pearson(x: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>) -> Option<f64> {
    if x.len() != y.len() {
        return None;
    }
    let mut pairs: Vec<[f64; 2]> = x.iter().zip(y).map(|(&x, &y)| [x, y]).collect();
    if standardise(&mut pairs).contains(&true) {
        return None;
    }
    let product: f64 = pairs.iter().map(|[x, y]| x * y).sum();
    Some(product.clamp(-1.0, 1.0))
}

fn check(x: ArrayView2<'_, f64>) -> Result<(), SpectrumError> {
    if x.nrows() < 2 {
        return Err(SpectrumError::TooFew {
            what: "rows of the histograms (proteins)",
            needed: 2,
            found: x.nrows(),
        });
    }
    check_finite("histograms", x)
}

/// `(x - mean) / |x - mean|` of `N` columns at once, in place; whether each is constant, which leaves zeros.
#[inline(always)]
fn standardise<const N: usize>(columns: &mut [[f64; N]]) -> [bool; N] {
    // The exact comparison, as in SciPy: deviations from a rounded mean would correlate rounding noise.
    let first = columns.first().copied().unwrap_or([0.0; N]);
    let rows = columns.len() as f64;
    let (mut constant, mut mean) = ([true; N], [0.0; N]);
    for values in columns.iter() {
        for column in 0..N {
            constant[column] &= values[column] == first[column];
            mean[column] += values[column];
        }
    }
    mean.iter_mut().for_each(|sum| *sum /= rows);
    let mut largest = [0.0f64; N];
    for values in columns.iter_mut() {
        for column in 0..N {
            values[column] -= mean[column];
            largest[column] = largest[column].max(values[column].abs());
        }
    }
    // Scaled first, so that squares of tiny or huge deviations neither vanish nor overflow.
    let mut squares = [0.0; N];
    for values in columns.iter_mut() {
        for column in 0..N {
            values[column] /= largest[column];
            squares[column] += values[column] * values[column];
        }
    }
    let norm = squares.map(f64::sqrt);
    for values in columns.iter_mut() {
        for column in 0..N {
            let scaled = values[column] / norm[column];
            values[column] = if constant[column] { 0.0 } else { scaled };
        }
    }
    constant
}

fn mirror_upper_triangle(matrix: &mut Array2<f64>) {
    let codes = matrix.nrows();
    for start in (0..codes).step_by(TRANSPOSED) {
        let end = (start + TRANSPOSED).min(codes);
        for column in 0..end {
            for row in start.max(column + 1)..end {
                matrix[[row, column]] = matrix[[column, row]];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Axis, Slice};
    use ndarray_stats::CorrelationExt;

    fn sample(rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            ((i * 37 + j * j * 11) % 101) as f64 + (i as f64 * 0.7 + j as f64).sin()
        })
    }

    #[test]
    fn agrees_with_ndarray_stats() {
        let x = sample(57, 301); // the last panel is not full
        let ours = pearson_columns(x.view()).unwrap().matrix;
        let theirs = x.t().pearson_correlation().unwrap();
        let worst = ours
            .iter()
            .zip(&theirs)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(worst < 1e-13, "{worst}");
        assert_eq!(ours, ours.t());
    }

    #[test]
    fn a_constant_code_does_not_touch_the_others() {
        let mut x = sample(20, 6);
        let without = pearson_columns(x.slice_axis(Axis(1), Slice::from(..5)))
            .unwrap()
            .matrix;
        x.column_mut(5).fill(0.1);
        let with = pearson_columns(x.view()).unwrap();
        assert_eq!(
            with.matrix
                .select(Axis(0), &[0, 1, 2, 3, 4])
                .select(Axis(1), &[0, 1, 2, 3, 4]),
            without
        );
        assert!(with.matrix.row(5).iter().all(|&r| r == 0.0));
        assert_eq!(with.constant, [false, false, false, false, false, true]);
    }

    #[test]
    fn tiny_deviations_are_not_lost() {
        let x = sample(20, 3);
        let expected = pearson_columns(x.view()).unwrap().matrix;
        let found = pearson_columns(x.mapv(|v| v * 1e-200).view())
            .unwrap()
            .matrix;
        assert!(
            expected
                .iter()
                .zip(&found)
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
    }

    #[test]
    fn a_nan_is_named() {
        let mut x = sample(4, 3);
        x[[2, 1]] = f64::NAN;
        let error = pearson_columns(x.view()).unwrap_err();
        assert!(
            matches!(
                error,
                SpectrumError::NotFinite {
                    row: 2,
                    column: 1,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn same_bits_with_one_and_three_threads() {
        let x = sample(40, 400);
        let run = |n| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(n)
                .build()
                .unwrap()
                .install(|| pearson_columns(x.view()).unwrap())
        };
        assert_eq!(run(1), run(3));
    }
}
