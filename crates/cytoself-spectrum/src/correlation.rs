use ndarray::{Array2, ArrayView1, ArrayView2, Axis, Slice};
use rayon::prelude::*;

use crate::SpectrumError;
use crate::error::check_finite;

/// Columns per block of the product; fixed, so that the sums do not depend on the number of threads.
const BLOCK: usize = 128;

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
    let (standard, constant) = standardised_columns(x);
    let codes = x.ncols();
    let mut matrix = Array2::<f64>::zeros((codes, codes));
    let blocks = matrix
        .as_slice_mut()
        .unwrap_or_default()
        .par_chunks_mut(BLOCK * codes.max(1));
    blocks.enumerate().for_each(|(block, rows)| {
        let start = block * BLOCK;
        let left = rows_between(&standard, start, (start + BLOCK).min(codes));
        for from in (start..codes).step_by(BLOCK) {
            let to = (from + BLOCK).min(codes);
            let product = left.dot(&rows_between(&standard, from, to).t());
            for (row, product) in rows.chunks_exact_mut(codes).zip(product.outer_iter()) {
                row[from..to]
                    .iter_mut()
                    .zip(product)
                    .for_each(|(to, r)| *to = r.clamp(-1.0, 1.0));
            }
        }
    });
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
    let (mut x, mut y) = (x.to_vec(), y.to_vec());
    if !(standardise(&mut x) && standardise(&mut y)) {
        return None;
    }
    let product: f64 = x.iter().zip(&y).map(|(a, b)| a * b).sum();
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

/// Standardised columns as rows, so that the products run along memory.
fn standardised_columns(x: ArrayView2<'_, f64>) -> (Array2<f64>, Vec<bool>) {
    let (rows, columns) = x.dim();
    let mut standard = Array2::<f64>::zeros((columns, rows));
    let constant = standard
        .as_slice_mut()
        .unwrap_or_default()
        .par_chunks_mut(TRANSPOSED * rows)
        .enumerate()
        .flat_map_iter(|(group, out)| {
            for (row, values) in x.outer_iter().enumerate() {
                let values = values.into_iter().skip(group * TRANSPOSED);
                for (out, &value) in out[row..].iter_mut().step_by(rows).zip(values) {
                    *out = value;
                }
            }
            out.chunks_exact_mut(rows)
                .map(|column| !standardise(column))
                .collect::<Vec<_>>()
        })
        .collect();
    (standard, constant)
}

/// `(x - mean) / |x - mean|` in place; `false` where all values are equal, which leaves zeros.
fn standardise(values: &mut [f64]) -> bool {
    // The exact comparison, as in SciPy: deviations from a rounded mean would correlate rounding noise.
    if values.iter().all(|&v| v == values[0]) {
        values.fill(0.0);
        return false;
    }
    let mean = ArrayView1::from(&*values).sum() / values.len() as f64;
    values.iter_mut().for_each(|v| *v -= mean);
    let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    // Scaled first, so that squares of tiny or huge deviations neither vanish nor overflow.
    values.iter_mut().for_each(|v| *v /= largest);
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    values.iter_mut().for_each(|v| *v /= norm);
    true
}

fn rows_between(x: &Array2<f64>, from: usize, to: usize) -> ArrayView2<'_, f64> {
    x.slice_axis(Axis(0), Slice::from(from..to))
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
    use ndarray_stats::CorrelationExt;

    fn sample(rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            ((i * 37 + j * j * 11) % 101) as f64 + (i as f64 * 0.7 + j as f64).sin()
        })
    }

    #[test]
    fn agrees_with_ndarray_stats() {
        let x = sample(57, 300);
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
