use ndarray::ArrayView2;

use crate::distance::{Coordinate, SquaredDistances};
use crate::neighbours::check_finite;
use crate::{EvalError, Labels};

/// Silhouette of every labelled point: `(b - a) / max(a, b)` with `a` the mean distance to its own class and `b` the
/// smallest mean distance to another class; 0 for the only point of a class.
///
/// Returns rows and values; their mean is the silhouette score. Points without class do not count.
///
/// # Shapes
/// `points: [n, d]`, finite, f32 or f64. O(n^2 d).
///
/// # Errors
/// - labels and points differ in number, or a coordinate is not finite;
/// - fewer than two classes.
///
/// # References
/// Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7.
///
/// # Example
/// ```
/// use cytoself_eval::{Labels, silhouette_samples};
/// let points = ndarray::array![[0.0], [1.0], [5.0], [6.0]];
/// let (_, values) = silhouette_samples(points.view(), &Labels::new(["a", "a", "b", "b"], &[]))?;
/// assert!((values[0] - (5.5 - 1.0) / 5.5).abs() < 1e-12);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn silhouette_samples<T: Coordinate>(
    points: ArrayView2<'_, T>,
    labels: &Labels,
) -> Result<(Vec<usize>, Vec<f64>), EvalError> {
    if points.nrows() != labels.len() {
        let what = "labels, one per point";
        return Err(EvalError::Shape {
            what,
            expected: points.nrows(),
            found: labels.len(),
        });
    }
    let (rows, classes) = labels.labelled();
    let own = points.select(ndarray::Axis(0), &rows);
    check_finite(own.view())?;
    let mut sizes = vec![0usize; labels.names().len()];
    classes.iter().for_each(|&class| sizes[class] += 1);
    let present = sizes.iter().filter(|&&s| s > 0).count();
    if present < 2 {
        return Err(EvalError::TooFew {
            what: "classes for the silhouette",
            needed: 2,
            found: present,
        });
    }
    let values = SquaredDistances::new(own.view()).for_rows(|row, distances| {
        let mut sums = vec![0.0; sizes.len()];
        distances
            .iter()
            .zip(&classes)
            .for_each(|(d, &class)| sums[class] += d.sqrt());
        silhouette(classes[row], &sums, &sizes)
    });
    Ok((rows, values))
}

fn silhouette(own: usize, sums: &[f64], sizes: &[usize]) -> f64 {
    if sizes[own] < 2 {
        return 0.0;
    }
    let a = sums[own] / (sizes[own] - 1) as f64;
    let others = (0..sizes.len())
        .filter(|&c| c != own && sizes[c] > 0)
        .map(|c| sums[c] / sizes[c] as f64);
    let b = others.fold(f64::INFINITY, f64::min);
    let larger = a.max(b);
    if larger > 0.0 { (b - a) / larger } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_singleton_is_zero_and_others_do_not_count() {
        let points = ndarray::array![[0.0f32], [1.0], [5.0], [6.0], [9.0], [100.0]];
        let labels = Labels::new(["a", "a", "b", "b", "c", "others"], &["others"]);
        let (rows, values) = silhouette_samples(points.view(), &labels).unwrap();
        assert_eq!(rows, [0, 1, 2, 3, 4]);
        assert_eq!(values[4], 0.0);
        assert!(silhouette_samples(points.view(), &Labels::new(["a"; 6], &[])).is_err());
    }
}
