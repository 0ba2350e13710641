//! Small dense linear algebra in f64.

/// Eigenvalues in falling order and their vectors (column j of the row-major result belongs to value j) of a symmetric
/// matrix, by cyclic Jacobi rotations (Golub, Van Loan, Matrix Computations, section 8.5).
pub(crate) fn symmetric_eigen(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut v = vec![0.0; n * n];
    (0..n).for_each(|i| v[i * n + i] = 1.0);
    let scale: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..60 {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i * n + j] * a[i * n + j])
            .sum();
        if off <= 1e-28 * scale {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, n, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]).then(i.cmp(&j)));
    let values = order.iter().map(|&i| a[i * n + i]).collect();
    let vectors = (0..n * n).map(|at| v[at / n * n + order[at % n]]).collect();
    (values, vectors)
}

fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..n {
        let (x, y) = (a[p * n + k], a[q * n + k]);
        (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
        let (x, y) = (v[k * n + p], v[k * n + q]);
        (v[k * n + p], v[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
}

/// The inverse of the upper Cholesky factor R of a positive definite matrix (G = R'R); `Err(i)` at the first column that
/// depends on the earlier ones.
pub(crate) fn inverse_cholesky(mut g: Vec<f64>, n: usize) -> Result<Vec<f64>, usize> {
    for i in 0..n {
        let diagonal = g[i * n + i] - (0..i).map(|k| g[k * n + i] * g[k * n + i]).sum::<f64>();
        if diagonal <= 1e-12 * g[i * n + i].abs() || diagonal <= 0.0 {
            return Err(i);
        }
        let root = diagonal.sqrt();
        g[i * n + i] = root;
        for j in i + 1..n {
            let dot: f64 = (0..i).map(|k| g[k * n + i] * g[k * n + j]).sum();
            g[i * n + j] = (g[i * n + j] - dot) / root;
        }
    }
    let mut inverse = vec![0.0; n * n];
    for j in 0..n {
        inverse[j * n + j] = 1.0 / g[j * n + j];
        for i in (0..j).rev() {
            let dot: f64 = (i + 1..=j).map(|k| g[i * n + k] * inverse[k * n + j]).sum();
            inverse[i * n + j] = -dot / g[i * n + i];
        }
    }
    Ok(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_of_a_path() {
        // The path graph's adjacency has the eigenvalues 2 cos(pi j / (n + 1)).
        let n = 7;
        let a = (0..n * n)
            .map(|at| f64::from(u8::from((at / 7_usize).abs_diff(at % 7) == 1)))
            .collect();
        let (values, vectors) = symmetric_eigen(a, n);
        for (j, value) in values.iter().enumerate() {
            let exact = 2.0 * (std::f64::consts::PI * (j + 1) as f64 / (n + 1) as f64).cos();
            assert!((value - exact).abs() < 1e-12);
            let norm: f64 = (0..n)
                .map(|i| vectors[i * n + j] * vectors[i * n + j])
                .sum();
            assert!((norm - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn cholesky_inverts() {
        let inverse = inverse_cholesky(vec![4.0, 2.0, 2.0, 10.0], 2).unwrap();
        // R = [2 1; 0 3].
        assert_eq!(inverse, vec![0.5, -1.0 / 6.0, 0.0, 1.0 / 3.0]);
        assert_eq!(inverse_cholesky(vec![1.0, 1.0, 1.0, 1.0], 2), Err(1));
    }
}
