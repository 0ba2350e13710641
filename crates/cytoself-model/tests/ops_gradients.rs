//! The candle operations' gradients against finite differences, at odd sizes.

use candle_core::{Device, Result, Tensor, Var};
use cytoself_model::ops::{
    self, Activation, BatchNormMode, BatchNormRunning, ConvAlgorithm, Padding, RngKey,
};

fn random(shape: &[usize], stream: u64) -> Tensor {
    let key = RngKey {
        seed: 5,
        stream,
        step: 0,
    };
    let n: usize = shape.iter().product();
    Tensor::from_vec(
        (0..n as u64).map(|i| key.normal(i)).collect::<Vec<f32>>(),
        shape,
        &Device::Cpu,
    )
    .expect("a tensor")
}

fn var(shape: &[usize], stream: u64) -> Var {
    Var::from_tensor(&random(shape, stream)).expect("a variable")
}

/// `sum(f() * weights)` in f64.
fn objective(y: &Tensor, weights: &Tensor) -> Result<f64> {
    let (y, w): (Vec<f32>, Vec<f32>) = (
        y.flatten_all()?.to_vec1()?,
        weights.flatten_all()?.to_vec1()?,
    );
    Ok(y.iter()
        .zip(&w)
        .map(|(y, w)| f64::from(*y) * f64::from(*w))
        .sum())
}

/// Compares the gradients of `sum(f() * random)` with central differences at a few coordinates of every variable.
#[track_caller]
fn check(what: &str, vars: &[&Var], f: impl Fn() -> Result<Tensor>) {
    check_with(what, vars, 2e-3, f).unwrap_or_else(|e| panic!("{what}: {e}"));
}

fn check_with(what: &str, vars: &[&Var], step: f32, f: impl Fn() -> Result<Tensor>) -> Result<()> {
    let y = f()?;
    let weights = random(y.dims(), 1000);
    let gradients = (&y * &weights)?.sum_all()?.backward()?;
    for (index, v) in vars.iter().enumerate() {
        let gradient: Vec<f32> = gradients
            .get(v)
            .unwrap_or_else(|| panic!("{what}: no gradient for variable {index}"))
            .flatten_all()?
            .to_vec1()?;
        let original: Vec<f32> = v.flatten_all()?.to_vec1()?;
        let scale = gradient.iter().fold(0f32, |m, g| m.max(g.abs())).max(1.0);
        let at = |i: usize, value: f32| -> Result<f64> {
            let mut moved = original.clone();
            moved[i] = value;
            v.set(&Tensor::from_vec(moved, v.shape(), &Device::Cpu)?)?;
            objective(&f()?, &weights)
        };
        let key = RngKey {
            seed: 6,
            stream: index as u64,
            step: 0,
        };
        for draw in 0..6 {
            let i = key.below(draw, original.len() as u32) as usize;
            let (up, down) = (original[i] + step, original[i] - step);
            let numeric = (at(i, up)? - at(i, down)?) / f64::from(up - down);
            let error = (numeric - f64::from(gradient[i])).abs();
            assert!(
                error < 6e-3 * f64::from(scale),
                "{what}: variable {index} at {i}: {} by differences {numeric} (scale {scale})",
                gradient[i]
            );
        }
        v.set(&Tensor::from_vec(original, v.shape(), &Device::Cpu)?)?;
    }
    Ok(())
}

/// (batch, channels, height, width).
const MAPS: [[usize; 4]; 6] = [
    [1, 1, 1, 1],
    [3, 2, 4, 4],
    [1, 7, 25, 25],
    [3, 64, 4, 4],
    [1, 2, 49, 51],
    [3, 7, 7, 5],
];

#[test]
fn convolutions() {
    for [n, c, h, w] in MAPS {
        for (o, k, s) in [(3, 3, 1), (2, 3, 2), (5, 1, 1), (1, 5, 2)] {
            for algorithm in [ConvAlgorithm::Gemm, ConvAlgorithm::Winograd] {
                let (x, weights) = (var(&[n, c, h, w], 1), var(&[o, c, k, k], 2));
                check(
                    &format!("conv {n}x{c}x{h}x{w} -> {o}, k {k} s {s} {algorithm:?}"),
                    &[&x, &weights],
                    || ops::conv2d(&x, &weights, s, Padding::uniform(k / 2), algorithm),
                );
            }
        }
        for (k, s) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
            let (x, weights) = (var(&[n, c, h, w], 1), var(&[c, 1, k, k], 2));
            check(
                &format!("depthwise {n}x{c}x{h}x{w}, k {k} s {s}"),
                &[&x, &weights],
                || ops::depthwise_conv2d(&x, &weights, s, Padding::uniform(k / 2)),
            );
        }
    }
}

#[test]
fn batch_normalisation() {
    for [n, c, h, w] in MAPS {
        let (x, residual, gamma, beta) = (
            var(&[n, c, h, w], 1),
            var(&[n, c, h, w], 2),
            var(&[c], 3),
            var(&[c], 4),
        );
        let running = BatchNormRunning::new(c, &Device::Cpu).expect("buffers");
        running.mean.set(&random(&[c], 5)).expect("a mean");
        for mode in [BatchNormMode::Batch, BatchNormMode::Eval] {
            if mode == BatchNormMode::Batch && n * h * w < 8 {
                continue;
            }
            for act in [Activation::None, Activation::Silu] {
                let what = format!("batch norm {n}x{c}x{h}x{w} {mode:?} {act:?}");
                check(&what, &[&x, &gamma, &beta, &residual], || {
                    ops::batch_norm(
                        &x,
                        Some((&gamma, &beta)),
                        &running,
                        mode,
                        1e-3,
                        Some(&residual),
                        act,
                    )
                });
                check(&what, &[&x, &gamma, &beta], || {
                    ops::batch_norm(&x, Some((&gamma, &beta)), &running, mode, 1e-3, None, act)
                });
                check(&what, &[&x, &residual], || {
                    ops::batch_norm(&x, None, &running, mode, 1e-3, Some(&residual), act)
                });
                check(&what, &[&x], || {
                    ops::batch_norm(&x, None, &running, mode, 1e-3, None, act)
                });
            }
        }
    }
}

#[test]
fn elementwise_and_resizing() {
    for [n, c, h, w] in MAPS {
        let (x, b, other) = (var(&[n, c, h, w], 1), var(&[c], 2), var(&[n, 3, h, w], 3));
        check("silu", &[&x], || ops::silu(&x));
        check("bias_add", &[&x, &b], || ops::bias_add(&x, &b));
        check("concat", &[&x, &other], || {
            ops::concat_channels(&[&x, &other, &x])
        });
        check("bilinear", &[&x], || {
            ops::resize_bilinear(&x, 2 * h + 1, w.div_ceil(2))
        });
        check("nearest", &[&x], || {
            ops::resize_nearest(&x, 3 * h + 1, w.div_ceil(2))
        });
        let key = RngKey {
            seed: 1,
            stream: 2,
            step: 3,
        };
        check("dropout", &[&x], || ops::dropout(&x, 0.3, key));
        check("stochastic depth", &[&x], || {
            ops::stochastic_depth(&x, 0.5, key)
        });
        let r = c.div_ceil(4);
        let (w1, b1, w2, b2) = (
            var(&[r, c, 1, 1], 4),
            var(&[r], 5),
            var(&[c, r, 1, 1], 6),
            var(&[c], 7),
        );
        check("squeeze and excitation", &[&x, &w1, &b1, &w2, &b2], || {
            ops::squeeze_excite(&x, &w1, &b1, &w2, &b2)
        });
        check("mse", &[&x], || ops::mse(&x, &random(&[n, c, h, w], 9)));
    }
    let x = var(&[40], 1);
    check_with("relu", &[&x], 1e-5, || ops::relu(&x)).expect("relu");
}

#[test]
fn dense_layers_and_losses() {
    for (rows, inputs, outputs) in [(1, 1, 2), (3, 7, 64), (16, 130, 131)] {
        let (x, w, b) = (
            var(&[rows, inputs], 1),
            var(&[outputs, inputs], 2),
            var(&[outputs], 3),
        );
        check("linear", &[&x, &w, &b], || ops::linear(&x, &w, Some(&b)));
        check("linear without bias", &[&x, &w], || {
            ops::linear(&x, &w, None)
        });
        let labels: Vec<u32> = (0..rows as u32).map(|i| i % outputs as u32).collect();
        let labels = Tensor::from_vec(labels, rows, &Device::Cpu).expect("labels");
        let logits = var(&[rows, outputs], 4);
        check("cross entropy", &[&logits], || {
            ops::cross_entropy(&logits, &labels)
        });
    }
    let (a, b) = (var(&[3, 5], 1), var(&[3, 5], 2));
    check("mse of two variables", &[&a, &b], || ops::mse(&a, &b));
}

#[test]
fn running_statistics_follow_pytorchs_convention() -> Result<()> {
    let x = random(&[3, 2, 4, 4], 1);
    let running = BatchNormRunning::new(2, &Device::Cpu)?;
    ops::batch_norm(
        &x,
        None,
        &running,
        BatchNormMode::Batch,
        1e-5,
        None,
        Activation::None,
    )?;
    assert_eq!(
        running.mean.to_vec1::<f32>()?,
        [0.0, 0.0],
        "batch mode leaves the buffers alone"
    );
    ops::batch_norm(
        &x,
        None,
        &running,
        BatchNormMode::Train { momentum: 0.1 },
        1e-5,
        None,
        Activation::None,
    )?;
    for c in 0..2 {
        let v: Vec<f32> = x.narrow(1, c, 1)?.flatten_all()?.to_vec1()?;
        let mean = v.iter().sum::<f32>() / 48.0;
        let unbiased = v.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 47.0;
        assert!((running.mean.to_vec1::<f32>()?[c] - 0.1 * mean).abs() < 1e-6);
        assert!((running.var.to_vec1::<f32>()?[c] - (0.9 + 0.1 * unbiased)).abs() < 1e-6);
    }
    Ok(())
}

#[test]
fn an_optimizer_that_was_saved_goes_on_with_the_same_bits() -> Result<()> {
    let run = |interrupted: bool| -> Result<Vec<f32>> {
        let w = var(&[7, 3], 1);
        let named = || vec![("layer.weight".to_string(), w.clone())];
        let mut adam = ops::Adam::new(named(), ops::AdamParams::adam_w(1e-2))?;
        for i in 0..6 {
            if interrupted && i == 3 {
                let (state, steps) = (adam.state()?.into_iter().collect(), adam.steps());
                adam = ops::Adam::new(named(), ops::AdamParams::adam_w(1e-2))?;
                adam.load_state(&state, steps)?;
            }
            adam.step(&ops::mse(&w, &random(&[7, 3], 2))?.backward()?)?;
        }
        w.flatten_all()?.to_vec1()
    };
    assert_eq!(run(true)?, run(false)?);
    Ok(())
}

#[test]
fn bad_shapes_are_errors_that_name_them() {
    let (x, w) = (random(&[1, 2, 4, 4], 1), random(&[3, 5, 3, 3], 2));
    let error = ops::conv2d(&x, &w, 1, Padding::uniform(1), ConvAlgorithm::Auto)
        .expect_err("channels differ")
        .to_string();
    assert!(
        error.contains("[3, 5, 3, 3]") && error.contains("[1, 2, 4, 4]"),
        "{error}"
    );
    assert!(
        ops::conv2d(
            &x,
            &random(&[3, 2, 7, 7], 2),
            1,
            Padding::NONE,
            ConvAlgorithm::Auto
        )
        .is_err()
    );
    assert!(
        ops::conv2d(
            &x,
            &random(&[3, 2, 3, 3], 2),
            0,
            Padding::NONE,
            ConvAlgorithm::Auto
        )
        .is_err()
    );
    assert!(ops::dropout(&x, 1.0, RngKey::default()).is_err());
    assert!(ops::resize_bilinear(&x, 0, 4).is_err());
    let labels = Tensor::new(&[9u32], &Device::Cpu).expect("labels");
    assert!(
        ops::cross_entropy(&random(&[1, 5], 1), &labels)
            .expect_err("a label too large")
            .to_string()
            .contains("label 9")
    );
}
