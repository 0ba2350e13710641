//! Every operation once more as the plainest loop in f64: what the tests compare the fast code with.
//!
//! Nothing in the library calls these functions; they are public so that tests and benches of other crates can.

use super::geometry::ConvGeometry;

/// Calls `f(output, input, weight)` with the indices of every product of a convolution (`groups` 1, or the channels: depthwise).
fn for_each_product(g: &ConvGeometry, depthwise: bool, mut f: impl FnMut(usize, usize, usize)) {
    let (ho, wo, [kh_n, kw_n]) = (g.out_height(), g.out_width(), g.kernel);
    let per_group = if depthwise { 1 } else { g.in_channels };
    for n in 0..g.batch {
        for o in 0..g.out_channels {
            for (i, j) in (0..ho).flat_map(|i| (0..wo).map(move |j| (i, j))) {
                for c in 0..per_group {
                    for (kh, kw) in (0..kh_n).flat_map(|kh| (0..kw_n).map(move |kw| (kh, kw))) {
                        let y = (i * g.stride + kh).wrapping_sub(g.padding.top);
                        let x = (j * g.stride + kw).wrapping_sub(g.padding.left);
                        if y < g.height && x < g.width {
                            let channel = if depthwise { o } else { c };
                            let input =
                                ((n * g.in_channels + channel) * g.height + y) * g.width + x;
                            f(
                                ((n * g.out_channels + o) * ho + i) * wo + j,
                                input,
                                ((o * per_group + c) * kh_n + kh) * kw_n + kw,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Convolution; `depthwise` says that channel `c` of the output reads channel `c` of the input only.
pub fn conv2d(x: &[f32], w: &[f32], g: &ConvGeometry, depthwise: bool) -> Vec<f64> {
    let mut y = vec![0.0; g.batch * g.out_channels * g.out_height() * g.out_width()];
    for_each_product(g, depthwise, |o, i, k| {
        y[o] += f64::from(x[i]) * f64::from(w[k])
    });
    y
}

/// The gradients of the input and of the weights of [`conv2d`].
pub fn conv2d_gradients(
    x: &[f32],
    w: &[f32],
    dy: &[f32],
    g: &ConvGeometry,
    depthwise: bool,
) -> (Vec<f64>, Vec<f64>) {
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
    for_each_product(g, depthwise, |o, i, k| {
        dx[i] += f64::from(dy[o]) * f64::from(w[k]);
        dw[k] += f64::from(dy[o]) * f64::from(x[i]);
    });
    (dx, dw)
}

/// `x * sigmoid(x)`.
pub fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The derivative of [`silu`].
pub fn silu_slope(x: f64) -> f64 {
    let s = 1.0 / (1.0 + (-x).exp());
    s * (1.0 + x * (1.0 - s))
}

/// Mean and biased variance per channel of `x: [batch, channels, plane]`.
pub fn moments(x: &[f32], [batch, channels, plane]: [usize; 3]) -> Vec<(f64, f64)> {
    let count = (batch * plane) as f64;
    let values = |c: usize| {
        (0..batch).flat_map(move |n| {
            x[(n * channels + c) * plane..][..plane]
                .iter()
                .map(|v| f64::from(*v))
        })
    };
    (0..channels)
        .map(|c| {
            let mean = values(c).sum::<f64>() / count;
            (
                mean,
                values(c).map(|v| (v - mean).powi(2)).sum::<f64>() / count,
            )
        })
        .collect()
}

/// One channel-wise normalisation, `act(gamma xhat + beta + residual)`: the input of the activation and `xhat`.
pub fn normalized(
    x: &[f32],
    shape: [usize; 3],
    moments: &[(f64, f64)],
    eps: f64,
    affine: Option<(&[f32], &[f32])>,
    residual: Option<&[f32]>,
) -> (Vec<f64>, Vec<f64>) {
    let [_, channels, plane] = shape;
    let xhat = |(i, v): (usize, &f32)| {
        let (mean, variance) = moments[i / plane % channels];
        (f64::from(*v) - mean) / (variance + eps).sqrt()
    };
    let xhat: Vec<f64> = x.iter().enumerate().map(xhat).collect();
    let before = |(i, v): (usize, &f64)| {
        let (gamma, beta) = affine.map_or((1.0, 0.0), |(g, b)| {
            (
                f64::from(g[i / plane % channels]),
                f64::from(b[i / plane % channels]),
            )
        });
        gamma * v + beta + residual.map_or(0.0, |r| f64::from(r[i]))
    };
    (xhat.iter().enumerate().map(before).collect(), xhat)
}

/// The weight of input position `from` in output position `to` of a bilinear axis with half-pixel centres.
fn bilinear_weight(input: usize, output: usize, from: usize, to: usize) -> f64 {
    let at = ((to as f64 + 0.5) * input as f64 / output as f64 - 0.5).max(0.0);
    let low = (at.floor() as usize).min(input - 1);
    let high = (low + 1).min(input - 1);
    let f = at - low as f64;
    f64::from(u8::from(low == from)) * (1.0 - f) + f64::from(u8::from(high == from)) * f
}

/// The weight of input position `from` in output position `to` of a nearest axis.
fn nearest_weight(input: usize, output: usize, from: usize, to: usize) -> f64 {
    f64::from(u8::from(to * input / output == from))
}

/// The resizing of one map as a matrix product with the axes' weights; `transposed` gives the adjoint (a map of `to` to one of `from`).
pub fn resize(
    x: &[f32],
    [h, w]: [usize; 2],
    [h2, w2]: [usize; 2],
    bilinear: bool,
    transposed: bool,
) -> Vec<f64> {
    let weight = if bilinear {
        bilinear_weight
    } else {
        nearest_weight
    };
    let mut y = vec![0.0; if transposed { h * w } else { h2 * w2 }];
    for (i, j) in (0..h2).flat_map(|i| (0..w2).map(move |j| (i, j))) {
        for (r, c) in (0..h).flat_map(|r| (0..w).map(move |c| (r, c))) {
            let k = weight(h, h2, r, i) * weight(w, w2, c, j);
            let (big, small) = (i * w2 + j, r * w + c);
            match transposed {
                true => y[small] += k * f64::from(x[big]),
                false => y[big] += k * f64::from(x[small]),
            }
        }
    }
    y
}

/// `x w^T + b` with `x: [rows, inputs]`, `w: [outputs, inputs]`.
pub fn linear(
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    [rows, inputs, outputs]: [usize; 3],
) -> Vec<f64> {
    let dot = |r: usize, o: usize| {
        (0..inputs)
            .map(|i| f64::from(x[r * inputs + i]) * f64::from(w[o * inputs + i]))
            .sum::<f64>()
    };
    let value =
        |i: usize| dot(i / outputs, i % outputs) + b.map_or(0.0, |b| f64::from(b[i % outputs]));
    (0..rows * outputs).map(value).collect()
}

/// One weight through one step of Adam (AdamW with `decay` > 0), PyTorch's formulas; returns weight, mean, square.
#[allow(clippy::too_many_arguments)] // the formula's symbols
pub fn adam(
    w: f64,
    g: f64,
    m: f64,
    v: f64,
    step: u64,
    lr: f64,
    [beta1, beta2]: [f64; 2],
    eps: f64,
    decay: f64,
) -> [f64; 3] {
    let (m, v) = (
        beta1 * m + (1.0 - beta1) * g,
        beta2 * v + (1.0 - beta2) * g * g,
    );
    let (mhat, vhat) = (
        m / (1.0 - beta1.powf(step as f64)),
        v / (1.0 - beta2.powf(step as f64)),
    );
    [
        w * (1.0 - lr * decay) - lr * mhat / (vhat.sqrt() + eps),
        m,
        v,
    ]
}
