use ndarray::{Array1, Array2};

/// Sweeps after which the rotation is cut off; ten are usual.
const SWEEPS: usize = 60;

/// Eigenvalues and eigenvectors (columns) of a symmetric matrix, by cyclic Jacobi rotations.
///
/// Slow for thousands of rows and exact to the last digits for hundreds, which is what whitening needs.
pub(crate) fn eigen(mut a: Array2<f64>) -> (Array1<f64>, Array2<f64>) {
    let n = a.nrows();
    let mut vectors = Array2::<f64>::eye(n);
    let total: f64 = a.iter().map(|v| v * v).sum();
    for _ in 0..SWEEPS {
        let off: f64 = a
            .indexed_iter()
            .filter(|((i, j), _)| i != j)
            .map(|(_, v)| v * v)
            .sum();
        if off <= 1e-30 * total {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, p, q);
            }
        }
    }
    (a.diag().to_owned(), vectors)
}

/// Turns the plane of `p` and `q` so that their entry becomes 0.
fn rotate(a: &mut Array2<f64>, vectors: &mut Array2<f64>, p: usize, q: usize) {
    if a[[p, q]] == 0.0 {
        return;
    }
    let theta = (a[[q, q]] - a[[p, p]]) / (2.0 * a[[p, q]]);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let tangent = if theta == 0.0 { 1.0 } else { tangent };
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    for k in 0..a.nrows() {
        let (x, y) = (a[[k, p]], a[[k, q]]);
        a[[k, p]] = cosine * x - sine * y;
        a[[k, q]] = sine * x + cosine * y;
    }
    for k in 0..a.nrows() {
        let (x, y) = (a[[p, k]], a[[q, k]]);
        a[[p, k]] = cosine * x - sine * y;
        a[[q, k]] = sine * x + cosine * y;
        let (x, y) = (vectors[[k, p]], vectors[[k, q]]);
        vectors[[k, p]] = cosine * x - sine * y;
        vectors[[k, q]] = sine * x + cosine * y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_make_the_matrix_again() {
        let x = Array2::from_shape_fn((12, 9), |(i, j)| ((i * 7 + j * j * 3) % 11) as f64 - 4.0);
        let matrix = x.t().dot(&x);
        let (values, vectors) = eigen(matrix.clone());
        let again = (&vectors * &values).dot(&vectors.t());
        assert!(again.iter().zip(&matrix).all(|(a, b)| (a - b).abs() < 1e-9));
        let unit = vectors.t().dot(&vectors);
        assert!(
            unit.indexed_iter()
                .all(|((i, j), v)| (v - f64::from(u8::from(i == j))).abs() < 1e-12)
        );
    }
}
