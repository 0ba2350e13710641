//! The rotation (or reflection) that brings one start onto another.

use ndarray::Array2;

use super::Relation;
use crate::linalg::symmetric_eigen;

/// Turns `later` about its centre so that the related points lie as near as possible to those of `earlier`, and gives it
/// that centre. No scaling: the layouts have one scale.
///
/// # References
/// Schoenemann 1966, doi:10.1007/BF02289451.
pub(super) fn align(earlier: &Array2<f32>, later: &mut Array2<f32>, relation: &Relation) {
    let d = later.ncols();
    let pairs = relation.pairs();
    if pairs.len() <= d {
        return;
    }
    let mean = |of: &dyn Fn(usize, usize) -> f32, c: usize| {
        (0..pairs.len()).map(|p| f64::from(of(p, c))).sum::<f64>() / pairs.len() as f64
    };
    let left = |p: usize, c: usize| earlier[[pairs[p].0 as usize, c]];
    let right = |p: usize, c: usize| later[[pairs[p].1 as usize, c]];
    let target: Vec<f64> = (0..d).map(|c| mean(&left, c)).collect();
    let centre: Vec<f64> = (0..d).map(|c| mean(&right, c)).collect();
    let mut cross = vec![0.0; d * d];
    for p in 0..pairs.len() {
        for i in 0..d {
            let x = f64::from(right(p, i)) - centre[i];
            for j in 0..d {
                cross[i * d + j] += x * (f64::from(left(p, j)) - target[j]);
            }
        }
    }
    let Some(rotation) = polar(&cross, d) else {
        return;
    };
    for mut row in later.rows_mut() {
        let x: Vec<f64> = row
            .iter()
            .zip(&centre)
            .map(|(v, c)| f64::from(*v) - c)
            .collect();
        for j in 0..d {
            let turned: f64 = x
                .iter()
                .enumerate()
                .map(|(i, x)| x * rotation[i * d + j])
                .sum();
            row[j] = (turned + target[j]) as f32;
        }
    }
}

/// The orthogonal factor M (M'M)^-1/2; `None` for a singular M.
fn polar(m: &[f64], d: usize) -> Option<Vec<f64>> {
    let at = |i: usize, j: usize| m[i * d + j];
    let square = (0..d * d)
        .map(|p| (0..d).map(|k| at(k, p / d) * at(k, p % d)).sum())
        .collect();
    let (values, vectors) = symmetric_eigen(square, d);
    if values[d - 1] <= 1e-12 * values[0] || values[0] <= 0.0 {
        return None;
    }
    let v = |i: usize, j: usize| vectors[i * d + j];
    let root = |i: usize, j: usize| {
        (0..d)
            .map(|k| v(i, k) * v(j, k) / values[k].sqrt())
            .sum::<f64>()
    };
    Some(
        (0..d * d)
            .map(|p| (0..d).map(|k| at(p / d, k) * root(k, p % d)).sum())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turned_and_mirrored_copy_comes_back() {
        let a = Array2::from_shape_fn((20, 2), |(i, d)| ((i * 7 + d * 3) % 11) as f32);
        let mut b = Array2::from_shape_fn((20, 2), |(i, d)| {
            let (x, y) = (a[[i, 0]], -a[[i, 1]]);
            if d == 0 {
                0.6 * x - 0.8 * y + 5.0
            } else {
                0.8 * x + 0.6 * y - 2.0
            }
        });
        align(&a, &mut b, &Relation::identity(20));
        assert!((&a - &b).iter().all(|e| e.abs() < 1e-4));
    }
}
