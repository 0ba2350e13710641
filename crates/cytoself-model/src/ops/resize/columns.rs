//! Bilinear resizing along a row. Twice the length, the step of the decoders, has loops without indices, which compilers turn into vectors;
//! they give the bits of the loops for any length.

/// What [`super::axis::linear`] gives.
type Sample = (usize, usize, f32);

/// Whether every output lies a quarter or three quarters between two inputs.
fn doubles(short: &[f32], long: &[f32]) -> bool {
    short.len() >= 2 && long.len() == 2 * short.len()
}

/// `y[i]` of `samples[i]` between two values of `x`.
pub(super) fn stretch(x: &[f32], samples: &[Sample], y: &mut [f32]) {
    if !doubles(x, y) {
        y.iter_mut()
            .zip(samples)
            .for_each(|(y, &(a, b, f))| *y = x[a] + f * (x[b] - x[a]));
        return;
    }
    let last = y.len() - 1;
    (y[0], y[last]) = (x[0], x[x.len() - 1]);
    let (pairs, _) = y[1..last].as_chunks_mut::<2>();
    for ([left, right], x) in pairs.iter_mut().zip(x.array_windows::<2>()) {
        let rise = x[1] - x[0];
        *left = x[0] + 0.25 * rise;
        *right = x[0] + 0.75 * rise;
    }
}

/// The adjoint of [`stretch`]: the gradient of `x` from that of `y`.
pub(super) fn gather(dy: &[f32], samples: &[Sample], dx: &mut [f32]) {
    if !doubles(dx, dy) {
        dx.fill(0.0);
        for (d, &(a, b, f)) in dy.iter().zip(samples) {
            dx[a] += (1.0 - f) * d;
            dx[b] += f * d;
        }
        return;
    }
    let (end, last) = (dx.len() - 1, dy.len() - 1);
    dx[0] = dy[0] + 0.75 * dy[1] + 0.25 * dy[2];
    dx[end] = 0.25 * dy[last - 2] + 0.75 * dy[last - 1] + 0.75 * dy[last] + 0.25 * dy[last];
    let (pairs, _) = dy[1..last].as_chunks::<2>();
    for (dx, [before, after]) in dx[1..end].iter_mut().zip(pairs.array_windows::<2>()) {
        *dx = 0.25 * before[0] + 0.75 * before[1] + 0.75 * after[0] + 0.25 * after[1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::resize::axis;

    #[test]
    fn twice_the_length_has_the_bits_of_any_length() {
        for n in [2, 3, 4, 7, 25, 50] {
            let samples = axis::linear(n, 2 * n);
            let x: Vec<f32> = (0..n)
                .map(|i| (i * 7919 % 97) as f32 * 0.37 - 15.0)
                .collect();
            let dy: Vec<f32> = (0..2 * n)
                .map(|i| (i * 31 % 89) as f32 * 0.21 - 9.0)
                .collect();
            let (mut y, mut dx) = (vec![f32::NAN; 2 * n], vec![f32::NAN; n]);
            stretch(&x, &samples, &mut y);
            gather(&dy, &samples, &mut dx);
            let mut adjoint = vec![0.0; n];
            for (i, &(a, b, f)) in samples.iter().enumerate() {
                assert_eq!(y[i], x[a] + f * (x[b] - x[a]), "{n}: output {i}");
                adjoint[a] += (1.0 - f) * dy[i];
                adjoint[b] += f * dy[i];
            }
            assert_eq!(dx, adjoint, "{n}");
        }
    }
}
