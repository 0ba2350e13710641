//! The operations' slice functions against `ops::reference`, every variant, and the same bits at any thread count.

use cytoself_model::ops::{
    self, Activation, ConvAlgorithm, ConvGeometry, InstructionSet, Padding, RngKey, reference,
};

/// Standard normal values.
fn values(n: usize, stream: u64) -> Vec<f32> {
    let key = RngKey {
        seed: 11,
        stream,
        step: 0,
    };
    (0..n as u64).map(|i| key.normal(i)).collect()
}

/// The largest error relative to the root mean square of the expected values.
#[track_caller]
fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let rms = (expected.iter().map(|e| e * e).sum::<f64>() / expected.len().max(1) as f64)
        .sqrt()
        .max(1e-3);
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(*f) - e).abs() <= tolerance * rms,
            "{what}: at {i} {f}, expected {e} (rms {rms})"
        );
    }
}

fn in_pool<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a thread pool")
        .install(f)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn geometry(
    batch: usize,
    [i, o]: [usize; 2],
    [height, width]: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: Padding,
) -> ConvGeometry {
    ConvGeometry {
        batch,
        in_channels: i,
        out_channels: o,
        height,
        width,
        kernel: [kernel, kernel],
        stride,
        padding,
    }
}

const TF_EVEN: Padding = Padding {
    top: 0,
    bottom: 1,
    left: 0,
    right: 1,
};
const TF_VALID: Padding = Padding {
    top: 1,
    bottom: 0,
    left: 1,
    right: 0,
};

/// Odd and even maps, batches 1 and 3, channels 1, 2, 7, 64.
fn convolutions() -> Vec<ConvGeometry> {
    let mut all = Vec::new();
    for map in [[1, 1], [4, 4], [5, 9], [25, 25], [49, 51]] {
        for (batch, channels) in [(1, [1, 2]), (3, [2, 7]), (1, [7, 1]), (2, [64, 3])] {
            if map[0] > 25 && channels[0] > 7 {
                continue;
            }
            for (kernel, stride) in [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)] {
                all.push(geometry(
                    batch,
                    channels,
                    map,
                    kernel,
                    stride,
                    Padding::uniform(kernel / 2),
                ));
            }
        }
    }
    all.push(geometry(2, [3, 4], [10, 12], 3, 2, TF_EVEN));
    all.push(geometry(2, [3, 4], [11, 11], 3, 1, TF_VALID));
    all.push(geometry(1, [2, 2], [8, 7], 2, 3, Padding::NONE));
    all.push(geometry(1, [2, 2], [6, 6], 1, 2, Padding::NONE));
    all.push(geometry(3, [64, 64], [4, 4], 3, 1, Padding::uniform(1)));
    all.push(geometry(17, [16, 40], [4, 4], 1, 1, Padding::NONE));
    all.push(geometry(11, [16, 24], [4, 4], 3, 1, Padding::uniform(1)));
    all.push(geometry(5, [8, 12], [7, 7], 3, 2, Padding::uniform(1)));
    all
}

#[test]
fn convolution_equals_the_reference() {
    for g in convolutions() {
        let (x, w) = (
            values(g.batch * g.in_channels * g.height * g.width, 1),
            values(
                g.out_channels * g.in_channels * g.kernel[0] * g.kernel[1],
                2,
            ),
        );
        let expected = reference::conv2d(&x, &w, &g, false);
        let dy = values(expected.len(), 3);
        let (dx, dw) = reference::conv2d_gradients(&x, &w, &dy, &g, false);
        for algorithm in [
            ConvAlgorithm::Gemm,
            ConvAlgorithm::Winograd,
            ConvAlgorithm::Auto,
        ] {
            let tolerance = if algorithm == ConvAlgorithm::Gemm {
                1e-5
            } else {
                2e-4
            };
            let what = format!("{algorithm:?} {g:?}");
            let mut y = vec![f32::NAN; expected.len()];
            ops::conv2d_forward(&x, &w, &g, algorithm, &mut y);
            assert_close(&y, &expected, tolerance, &what);
            let mut found = vec![f32::NAN; x.len()];
            ops::conv2d_input_gradient(&dy, &w, &g, algorithm, &mut found);
            assert_close(&found, &dx, tolerance, &format!("dx {what}"));
            let mut found = vec![f32::NAN; w.len()];
            ops::conv2d_weight_gradient(&x, &dy, &g, algorithm, &mut found);
            assert_close(&found, &dw, tolerance, &format!("dw {what}"));
        }
    }
}

#[test]
fn depthwise_convolution_equals_the_reference() {
    let mut shapes = Vec::new();
    for map in [[1, 1], [2, 3], [4, 4], [7, 7], [13, 13], [25, 25], [49, 51]] {
        for (batch, channels) in [(1, 1), (3, 2), (1, 7), (2, 64)] {
            if map[0] > 25 && channels > 7 {
                continue;
            }
            for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (3, 3)] {
                shapes.push(geometry(
                    batch,
                    [channels, channels],
                    map,
                    kernel,
                    stride,
                    Padding::uniform(kernel / 2),
                ));
            }
        }
    }
    for (kernel, stride, padding) in [
        (3, 2, TF_EVEN),
        (3, 1, TF_VALID),
        (
            5,
            2,
            Padding {
                top: 1,
                bottom: 2,
                left: 1,
                right: 2,
            },
        ),
        (3, 1, Padding::NONE),
    ] {
        shapes.push(geometry(2, [5, 5], [10, 12], kernel, stride, padding));
        shapes.push(geometry(2, [5, 5], [11, 9], kernel, stride, padding));
    }
    for g in shapes {
        let (x, w) = (
            values(g.batch * g.in_channels * g.height * g.width, 1),
            values(g.in_channels * g.kernel[0] * g.kernel[1], 2),
        );
        let expected = reference::conv2d(&x, &w, &g, true);
        let dy = values(expected.len(), 3);
        let (dx, dw) = reference::conv2d_gradients(&x, &w, &dy, &g, true);
        for &isa in InstructionSet::available() {
            let what = format!("{isa:?} {g:?}");
            let mut y = vec![f32::NAN; expected.len()];
            ops::depthwise_forward(&x, &w, &g, isa, &mut y);
            assert_close(&y, &expected, 1e-5, &what);
            let mut found = vec![f32::NAN; x.len()];
            ops::depthwise_input_gradient(&dy, &w, &g, isa, &mut found);
            assert_close(&found, &dx, 1e-5, &format!("dx {what}"));
            let mut found = vec![f32::NAN; w.len()];
            ops::depthwise_weight_gradient(&x, &dy, &g, isa, &mut found);
            assert_close(&found, &dw, 1e-5, &format!("dw {what}"));
        }
    }
}

#[test]
fn batch_normalisation_equals_the_reference() {
    let eps = 1e-5;
    for shape @ [batch, channels, plane] in [
        [1, 1, 1],
        [3, 2, 1],
        [3, 7, 16],
        [1, 64, 625],
        [2, 3, 49 * 51],
        [3, 1, 10_000],
    ] {
        let n = batch * channels * plane;
        let x: Vec<f32> = values(n, 1).iter().map(|v| v * 2.0 + 30.0).collect(); // a mean far from 0
        let (r, dy, gamma, beta) = (
            values(n, 2),
            values(n, 3),
            values(channels, 4),
            values(channels, 5),
        );
        let expected_moments = reference::moments(&x, shape);
        for &isa in InstructionSet::available() {
            let statistics = ops::batch_statistics(&x, shape, isa);
            for (c, (mean, variance)) in expected_moments.iter().enumerate() {
                assert!(
                    (f64::from(statistics.mean[c]) - mean).abs() < 1e-5 * mean.abs().max(1.0),
                    "{shape:?}"
                );
                assert!(
                    (f64::from(statistics.variance[c]) - variance).abs() < 1e-5 * variance.max(1.0),
                    "{shape:?}"
                );
            }
            if batch * plane == 1 {
                continue;
            }
            for (affine, residual, act) in [
                (None, None, Activation::None),
                (None, None, Activation::Silu),
                (Some((&gamma[..], &beta[..])), None, Activation::Silu),
                (None, Some(&r[..]), Activation::Silu),
                (
                    Some((&gamma[..], &beta[..])),
                    Some(&r[..]),
                    Activation::None,
                ),
                (
                    Some((&gamma[..], &beta[..])),
                    Some(&r[..]),
                    Activation::Silu,
                ),
            ] {
                let what = format!(
                    "{isa:?} {shape:?} {act:?} affine {} residual {}",
                    affine.is_some(),
                    residual.is_some()
                );
                let (before, xhat) =
                    reference::normalized(&x, shape, &expected_moments, eps, affine, residual);
                let silu = act == Activation::Silu;
                let expected: Vec<f64> = before
                    .iter()
                    .map(|v| if silu { reference::silu(*v) } else { *v })
                    .collect();
                let mut y = vec![f32::NAN; n];
                ops::batch_norm_forward(
                    &x,
                    shape,
                    &statistics,
                    eps as f32,
                    affine,
                    residual,
                    act,
                    isa,
                    &mut y,
                );
                assert_close(&y, &expected, 5e-5, &what);

                let slope = |v: f64| if silu { reference::silu_slope(v) } else { 1.0 };
                let g: Vec<f64> = before
                    .iter()
                    .zip(&dy)
                    .map(|(v, d)| slope(*v) * f64::from(*d))
                    .collect();
                let channel = |i: usize| i / plane % channels;
                let (mut sum, mut product) = (vec![0.0; channels], vec![0.0; channels]);
                for i in 0..n {
                    sum[channel(i)] += g[i];
                    product[channel(i)] += g[i] * xhat[i];
                }
                for batch_mode in [true, false] {
                    let found = ops::batch_norm_backward(
                        &x,
                        &dy,
                        shape,
                        &statistics,
                        eps as f32,
                        affine,
                        residual,
                        act,
                        batch_mode,
                        isa,
                    );
                    let count = (batch * plane) as f64;
                    let dx: Vec<f64> = (0..n)
                        .map(|i| {
                            let c = channel(i);
                            let scale = affine.map_or(1.0, |(g, _)| f64::from(g[c]))
                                / (expected_moments[c].1 + eps).sqrt();
                            let centred = if batch_mode {
                                g[i] - sum[c] / count - xhat[i] * product[c] / count
                            } else {
                                g[i]
                            };
                            scale * centred
                        })
                        .collect();
                    assert_close(&found.x, &dx, 1e-4, &format!("dx {what} {batch_mode}"));
                    assert_close(&found.gamma, &product, 1e-4, &format!("dgamma {what}"));
                    assert_close(&found.beta, &sum, 1e-4, &format!("dbeta {what}"));
                    assert_eq!(found.residual.is_some(), residual.is_some());
                    if let Some(d) = &found.residual {
                        assert_close(d, &g, 5e-5, &format!("dresidual {what}"));
                    }
                }
            }
        }
    }
}

#[test]
fn resizing_equals_the_reference() {
    for (from, to) in [
        ([1, 1], [4, 4]),
        ([4, 4], [25, 25]),
        ([4, 4], [7, 7]),
        ([7, 7], [13, 13]),
        ([13, 13], [25, 25]),
        ([25, 25], [50, 50]),
        ([5, 3], [2, 9]),
    ] {
        let planes = 11;
        let (x, dy) = (
            values(planes * from[0] * from[1], 1),
            values(planes * to[0] * to[1], 2),
        );
        type Run = fn(&[f32], [usize; 2], [usize; 2], &mut [f32]);
        let kinds: [(bool, Run, Run); 2] = [
            (
                true,
                ops::resize_bilinear_forward,
                ops::resize_bilinear_backward,
            ),
            (
                false,
                ops::resize_nearest_forward,
                ops::resize_nearest_backward,
            ),
        ];
        for (bilinear, forward, backward) in kinds {
            let what = format!("{from:?} -> {to:?}, bilinear {bilinear}");
            let mut y = vec![f32::NAN; dy.len()];
            forward(&x, from, to, &mut y);
            let expected: Vec<f64> = x
                .chunks(from[0] * from[1])
                .flat_map(|x| reference::resize(x, from, to, bilinear, false))
                .collect();
            assert_close(&y, &expected, 1e-5, &what);
            let mut dx = vec![f32::NAN; x.len()];
            backward(&dy, from, to, &mut dx);
            let expected: Vec<f64> = dy
                .chunks(to[0] * to[1])
                .flat_map(|y| reference::resize(y, from, to, bilinear, true))
                .collect();
            assert_close(&dx, &expected, 1e-5, &format!("dx {what}"));
        }
    }
}

#[test]
fn dense_layers_equal_the_reference() {
    for shape @ [rows, inputs, outputs] in [[1, 1, 1], [3, 7, 2], [16, 130, 131], [2, 1030, 70]] {
        let (x, w, b, dy) = (
            values(rows * inputs, 1),
            values(outputs * inputs, 2),
            values(outputs, 3),
            values(rows * outputs, 4),
        );
        for bias in [None, Some(&b[..])] {
            let mut y = vec![f32::NAN; dy.len()];
            ops::linear_forward(&x, &w, bias, shape, &mut y);
            assert_close(&y, &reference::linear(&x, &w, bias, shape), 1e-5, "y");
        }
        let transpose = |a: &[f32], columns: usize| -> Vec<f32> {
            (0..columns)
                .flat_map(|c| a.iter().skip(c).step_by(columns).copied())
                .collect()
        };
        let mut dx = vec![f32::NAN; x.len()];
        ops::linear_input_gradient(&dy, &w, shape, &mut dx);
        assert_close(
            &dx,
            &reference::linear(&dy, &transpose(&w, inputs), None, [rows, outputs, inputs]),
            1e-5,
            "dx",
        );
        let mut dw = vec![f32::NAN; w.len()];
        ops::linear_weight_gradient(&x, &dy, shape, &mut dw);
        assert_close(
            &dw,
            &reference::linear(
                &transpose(&dy, outputs),
                &transpose(&x, inputs),
                None,
                [outputs, rows, inputs],
            ),
            1e-5,
            "dw",
        );
    }
}

#[test]
fn activations_equal_the_reference() {
    let x: Vec<f32> = values(1003, 1)
        .iter()
        .map(|v| v * 20.0)
        .chain([0.0, -200.0, 200.0, 1e-8])
        .collect();
    let dy = values(x.len(), 2);
    for &isa in InstructionSet::available() {
        let (mut y, mut dx) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        ops::silu_forward(&x, isa, &mut y);
        ops::silu_backward(&x, &dy, isa, &mut dx);
        for i in 0..x.len() {
            let (v, d) = (f64::from(x[i]), f64::from(dy[i]));
            assert!(
                (f64::from(y[i]) - reference::silu(v)).abs() <= 1e-6 * v.abs().max(1.0),
                "silu({v}) = {}",
                y[i]
            );
            assert!(
                (f64::from(dx[i]) - d * reference::silu_slope(v)).abs()
                    <= 2e-6 * d.abs().max(1.0) * v.abs().max(1.0),
                "slope at {v}"
            );
        }
        let far: Vec<f32> = (-8600..3000).map(|i| i as f32 / 100.0).collect();
        let mut y = vec![f32::NAN; far.len()];
        ops::silu_forward(&far, isa, &mut y);
        for (x, y) in far.iter().zip(&y) {
            let expected = reference::silu(f64::from(*x));
            let part = if *x < -10.0 { 5e-6 } else { 1.2e-6 };
            assert!(
                (f64::from(*y) - expected).abs() <= part * expected.abs(),
                "silu({x}) = {y}, expected {expected}"
            );
        }
        let ends = [-88.5, -200.0, -1e30, f32::MIN, f32::NEG_INFINITY];
        let (mut y, mut dx) = ([f32::NAN; 5], [f32::NAN; 5]);
        ops::silu_forward(&ends, isa, &mut y);
        ops::silu_backward(&ends, &[1.0; 5], isa, &mut dx);
        let small = |v: &f32| v.abs() < 1e-34;
        assert!(y.iter().chain(&dx).all(small), "{isa:?} {y:?} {dx:?}");
        let ends = [200.0, 1e30, f32::MAX, f32::INFINITY, 1e-40];
        ops::silu_forward(&ends, isa, &mut y);
        assert_eq!(y[..4], ends[..4], "{isa:?}");
        assert!((0.0..=1e-40).contains(&y[4]), "{isa:?} {}", y[4]);
        // Whatever the bits of a NaN beyond the first.
        let mut y = [0.0; 3];
        let none = [0x7fc0_0000, 0x7fc0_0001, 0xffff_ffff].map(f32::from_bits);
        ops::silu_forward(&none, isa, &mut y);
        assert!(y.iter().all(|y| y.is_nan()), "a NaN must not be hidden");
    }
}

#[test]
fn adam_equals_the_reference() {
    let n = 1003;
    for &isa in InstructionSet::available() {
        for params in [ops::AdamParams::adam(4e-4), ops::AdamParams::adam_w(1e-3)] {
            let (mut w, mut m, mut v) = (values(n, 1), vec![0.0; n], vec![0.0; n]);
            let mut expected: Vec<[f64; 3]> = w.iter().map(|w| [f64::from(*w), 0.0, 0.0]).collect();
            for step in 1..=3 {
                let g = values(n, 10 + step);
                ops::adam_step(&mut w, &g, &mut m, &mut v, &params, step, isa);
                for (e, g) in expected.iter_mut().zip(&g) {
                    *e = reference::adam(
                        e[0],
                        f64::from(*g),
                        e[1],
                        e[2],
                        step,
                        params.learning_rate,
                        [0.9, 0.999],
                        1e-8,
                        params.weight_decay,
                    );
                }
            }
            for (i, e) in expected.iter().enumerate() {
                assert!(
                    (f64::from(w[i]) - e[0]).abs() < 1e-6
                        && (f64::from(m[i]) - e[1]).abs() < 1e-6
                        && (f64::from(v[i]) - e[2]).abs() < 1e-6,
                    "{i}"
                );
            }
        }
    }
}

/// One case large enough that every kernel is cut into several tasks.
#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = || {
        let isa = InstructionSet::detect();
        let mut all = Vec::new();
        for (g, algorithm) in [
            (
                geometry(3, [16, 24], [25, 25], 3, 1, Padding::uniform(1)),
                ConvAlgorithm::Winograd,
            ),
            (
                geometry(3, [16, 24], [25, 25], 3, 1, Padding::uniform(1)),
                ConvAlgorithm::Gemm,
            ),
            (
                geometry(2, [2, 32], [60, 60], 3, 2, Padding::uniform(1)),
                ConvAlgorithm::Auto,
            ),
            (
                geometry(17, [40, 64], [4, 4], 1, 1, Padding::NONE),
                ConvAlgorithm::Auto,
            ),
        ] {
            let (x, w) = (
                values(g.batch * g.in_channels * g.height * g.width, 1),
                values(
                    g.out_channels * g.in_channels * g.kernel[0] * g.kernel[1],
                    2,
                ),
            );
            let mut y = vec![0.0; g.batch * g.out_channels * g.out_height() * g.out_width()];
            ops::conv2d_forward(&x, &w, &g, algorithm, &mut y);
            let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
            ops::conv2d_input_gradient(&y, &w, &g, algorithm, &mut dx);
            ops::conv2d_weight_gradient(&x, &y, &g, algorithm, &mut dw);
            all.extend([y, dx, dw]);
        }
        let g = geometry(3, [40, 40], [25, 25], 5, 2, Padding::uniform(2));
        let (x, w) = (values(3 * 40 * 625, 1), values(40 * 25, 2));
        let mut y = vec![0.0; 3 * 40 * 13 * 13];
        ops::depthwise_forward(&x, &w, &g, isa, &mut y);
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        ops::depthwise_input_gradient(&y, &w, &g, isa, &mut dx);
        ops::depthwise_weight_gradient(&x, &y, &g, isa, &mut dw);
        let shape = [3, 40, 625];
        let statistics = ops::batch_statistics(&x, shape, isa);
        let mut z = vec![0.0; x.len()];
        ops::batch_norm_forward(
            &x,
            shape,
            &statistics,
            1e-5,
            None,
            Some(&dx),
            Activation::Silu,
            isa,
            &mut z,
        );
        let gradients = ops::batch_norm_backward(
            &x,
            &z,
            shape,
            &statistics,
            1e-5,
            None,
            Some(&dx),
            Activation::Silu,
            true,
            isa,
        );
        let mut dropped = vec![0.0; x.len()];
        ops::dropout_forward(&x, 0.5, RngKey::default(), 1, &mut dropped);
        let loss = vec![
            ops::mse_forward(&x, &z),
            ops::cross_entropy_forward(&x, &[7; 120], 625),
        ];
        all.extend([
            y,
            dx,
            dw,
            z,
            gradients.x,
            gradients.gamma,
            gradients.beta,
            dropped,
            loss,
        ]);
        all.iter().flat_map(|v| bits(v)).collect::<Vec<u32>>()
    };
    let one = in_pool(1, run);
    for threads in [2, 3, 8] {
        assert!(
            in_pool(threads, run) == one,
            "{threads} threads gave other bits than one"
        );
    }
}

/// Embeddings must not depend on which crops share a batch.
#[test]
fn an_image_has_the_same_bits_in_any_batch() {
    for g in [
        geometry(9, [2, 32], [40, 40], 3, 2, Padding::uniform(1)),
        geometry(9, [64, 40], [25, 25], 3, 1, Padding::uniform(1)),
        geometry(9, [24, 40], [7, 7], 3, 1, Padding::uniform(1)),
        geometry(9, [40, 64], [4, 4], 1, 1, Padding::NONE),
        geometry(9, [576, 40], [4, 4], 3, 1, Padding::uniform(1)),
    ] {
        let single = ConvGeometry { batch: 1, ..g };
        let (x, w) = (
            values(9 * g.in_channels * g.height * g.width, 1),
            values(
                g.out_channels * g.in_channels * g.kernel[0] * g.kernel[1],
                2,
            ),
        );
        let length = g.out_channels * g.out_height() * g.out_width();
        for algorithm in [ConvAlgorithm::Auto, ConvAlgorithm::Gemm] {
            let (mut all, mut one) = (vec![0.0; 9 * length], vec![0.0; length]);
            ops::conv2d_forward(&x, &w, &g, algorithm, &mut all);
            for image in [0, 5, 8] {
                let x = &x[image * x.len() / 9..(image + 1) * x.len() / 9];
                ops::conv2d_forward(x, &w, &single, algorithm, &mut one);
                let found = &all[image * length..][..length];
                assert_eq!(bits(found), bits(&one), "{algorithm:?} {image} {g:?}");
            }
        }
    }
    let (x, w) = (values(9 * 1030, 1), values(33 * 1030, 2));
    let (mut all, mut one) = (vec![0.0; 9 * 33], vec![0.0; 33]);
    ops::linear_forward(&x, &w, None, [9, 1030, 33], &mut all);
    ops::linear_forward(&x[8 * 1030..], &w, None, [1, 1030, 33], &mut one);
    assert_eq!(bits(&all[8 * 33..]), bits(&one));
}
