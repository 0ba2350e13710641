//! The operations with inputs to try them on.

use candle_core::{Device, Result, Tensor, Var};
use cytoself_model::ops::{
    self, Activation, BatchNormMode, BatchNormRunning, ConvAlgorithm, Padding, RngKey,
};

/// An operation of a few tensors.
type Operation = Box<dyn Fn(&[Tensor]) -> Result<Tensor>>;

/// An operation, the shapes of its inputs, and whether the precision of products plays a part in it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) shapes: Vec<Vec<usize>>,
    pub(crate) multiplies: bool,
    pub(crate) run: Operation,
}

fn case(
    name: impl Into<String>,
    multiplies: bool,
    shapes: &[&[usize]],
    run: impl Fn(&[Tensor]) -> Result<Tensor> + 'static,
) -> Case {
    Case {
        name: name.into(),
        shapes: shapes.iter().map(|s| s.to_vec()).collect(),
        multiplies,
        run: Box::new(run),
    }
}

/// Values in -0.5..0.5 that depend on the seed alone.
pub(crate) fn noise(shape: &[usize], seed: u64) -> Result<Tensor> {
    let key = RngKey {
        seed,
        stream: 7,
        step: 0,
    };
    let mut values = vec![0.0; shape.iter().product()];
    key.fill_uniform(0, &mut values);
    values.iter_mut().for_each(|v| *v -= 0.5);
    Tensor::from_vec(values, shape, &Device::Cpu)
}

const UNEVEN: Padding = Padding {
    top: 1,
    bottom: 0,
    left: 0,
    right: 1,
};

/// All cases; `small` ones are for a try on the processor.
pub(crate) fn all(small: bool) -> Vec<Case> {
    // Images and the width of a decoder.
    let (n, wide) = if small { (2, 12) } else { (8, 320) };
    let mut cases = Vec::new();
    for (name, o, i, k, stride, padding, side) in [
        ("3x3", wide, wide, 3, 1, Padding::uniform(1), 25),
        (
            "3x3, two results",
            2,
            wide / 2,
            3,
            1,
            Padding::uniform(1),
            50,
        ),
        ("3x3, stride 2", 32, 2, 3, 2, Padding::uniform(1), 50),
        ("3x3, uneven padding", 20, 9, 3, 1, UNEVEN, 13),
        ("3x3, uneven, stride 2", 20, 9, 3, 2, UNEVEN, 13),
        ("1x1", wide / 2, wide, 1, 1, Padding::NONE, 13),
        ("1x1 on one pixel", 24, 40, 1, 1, Padding::NONE, 1),
    ] {
        let shapes: [&[usize]; 2] = [&[n, i, side, side], &[o, i, k, k]];
        cases.push(case(format!("conv2d {name}"), true, &shapes, move |t| {
            ops::conv2d(&t[0], &t[1], stride, padding, ConvAlgorithm::Gemm)
        }));
    }
    for (k, stride, padding) in [
        (3, 1, Padding::uniform(1)),
        (3, 2, Padding::uniform(1)),
        (5, 1, Padding::uniform(2)),
        (5, 2, Padding::uniform(2)),
        (5, 2, UNEVEN),
        (7, 1, Padding::uniform(3)),
        (7, 3, Padding::uniform(1)),
    ] {
        let shapes: [&[usize]; 2] = [&[n, 48, 25, 25], &[48, 1, k, k]];
        let name = format!("depthwise {k}x{k}, stride {stride}, {padding:?}");
        cases.push(case(name, false, &shapes, move |t| {
            ops::depthwise_conv2d(&t[0], &t[1], stride, padding)
        }));
    }
    cases.extend(normalisations(n));
    cases.extend(resizes(n));
    cases.extend(simple(n));
    let inputs = if small { 50 } else { 9216 };
    for (name, shapes) in [
        ("linear", vec![&[n, inputs][..], &[100, inputs], &[100]]),
        ("linear without bias", vec![&[n, 64][..], &[33, 64]]),
    ] {
        cases.push(case(name, true, &shapes, |t| {
            ops::linear(&t[0], &t[1], t.get(2))
        }));
    }
    cases
}

fn normalisations(n: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    let modes = [
        BatchNormMode::Train { momentum: 0.1 },
        BatchNormMode::Batch,
        BatchNormMode::Eval,
    ];
    for mode in modes {
        for activation in [Activation::None, Activation::Silu] {
            for (affine, residual) in [(false, false), (true, false), (false, true), (true, true)] {
                let x: &[usize] = &[n, 24, 25, 25];
                let mut shapes = vec![x];
                if affine {
                    shapes.extend([&[24][..], &[24]]);
                }
                if residual {
                    shapes.push(x);
                }
                let name = format!(
                    "batch norm {mode:?} {activation:?}, affine {affine}, residual {residual}"
                );
                cases.push(case(name, false, &shapes, move |t| {
                    let running = BatchNormRunning::new(24, t[0].device())?;
                    let vectors = affine.then(|| (&t[1], &t[2]));
                    let added = residual.then(|| &t[t.len() - 1]);
                    let y =
                        ops::batch_norm(&t[0], vectors, &running, mode, 1e-5, added, activation)?;
                    // The running values are part of the result.
                    let moved =
                        Tensor::cat(&[running.mean.as_tensor(), running.var.as_tensor()], 0)?;
                    KEPT.with_borrow_mut(|kept| *kept = Some(moved));
                    Ok(y)
                }));
            }
        }
    }
    cases
}

thread_local! {
    /// What an operation leaves behind beside its result.
    static KEPT: std::cell::RefCell<Option<Tensor>> = const { std::cell::RefCell::new(None) };
}

/// What the last operation has left behind.
pub(crate) fn left_behind() -> Option<Tensor> {
    KEPT.take()
}

fn resizes(n: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for (from, to) in [([25, 25], [50, 50]), ([4, 4], [25, 25]), ([13, 9], [7, 20])] {
        let shapes: [&[usize]; 1] = [&[n, 10, from[0], from[1]]];
        let sizes = format!("{from:?} to {to:?}");
        cases.push(case(
            format!("bilinear {sizes}"),
            false,
            &shapes,
            move |t| ops::resize_bilinear(&t[0], to[0], to[1]),
        ));
        cases.push(case(format!("nearest {sizes}"), false, &shapes, move |t| {
            ops::resize_nearest(&t[0], to[0], to[1])
        }));
    }
    cases
}

fn simple(n: usize) -> Vec<Case> {
    let map: &[usize] = &[n, 12, 13, 13];
    let key = RngKey {
        seed: 3,
        stream: 5,
        step: 9,
    };
    vec![
        case("silu", false, &[map], |t| ops::silu(&t[0])),
        case("relu", false, &[map], |t| ops::relu(&t[0])),
        case("add", false, &[map, map], |t| ops::add(&t[0], &t[1])),
        case("bias add", false, &[map, &[12]], |t| {
            ops::bias_add(&t[0], &t[1])
        }),
        case("concat", false, &[map, &[n, 5, 13, 13]], |t| {
            ops::concat_channels(&[&t[0], &t[1]])
        }),
        case("max pool", false, &[map], |t| ops::max_pool2(&t[0])),
        case("dropout", false, &[map], move |t| {
            ops::dropout(&t[0], 0.3, key)
        }),
        case("stochastic depth", false, &[&[64, 3, 5, 5]], move |t| {
            ops::stochastic_depth(&t[0], 0.3, key)
        }),
        case(
            "squeeze and excite",
            false,
            &[map, &[3, 12, 1, 1], &[3], &[12, 3, 1, 1], &[12]],
            |t| ops::squeeze_excite(&t[0], &t[1], &t[2], &t[3], &t[4]),
        ),
        case("mse", false, &[map, map], |t| ops::mse(&t[0], &t[1])),
        case("cross entropy", false, &[&[n, 1311]], move |t| {
            let labels: Vec<u32> = (0..n as u32).map(|i| i * 17 % 1311).collect();
            ops::cross_entropy(&t[0], &Tensor::new(labels, t[0].device())?)
        }),
    ]
}

/// The inputs of a case as variables on a device.
pub(crate) fn inputs(case: &Case, device: &Device) -> Result<Vec<Var>> {
    let made = case.shapes.iter().zip(1..);
    made.map(|(shape, seed)| Var::from_tensor(&noise(shape, seed)?.to_device(device)?))
        .collect()
}
