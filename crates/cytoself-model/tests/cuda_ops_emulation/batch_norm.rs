//! batch_norm.cu.

use candle_core::{Device as Candle, Tensor};
use cytoself_model::ops::{
    Activation, BatchNormMode, BatchNormRunning, BatchStatistics, InstructionSet, batch_norm,
    batch_norm_backward, batch_norm_forward, batch_statistics,
};

use crate::data::{SHAPES, SHIFTS, close, close_to, noise, size};
use crate::device::{Buffer, Device, args, each, harness, one};

const EPS: f32 = 1e-3;

/// What one test covers beside the shape.
#[derive(Clone, Copy, Debug)]
struct Case {
    affine: bool,
    residual: bool,
    silu: bool,
    batch_mode: bool,
    /// The gradient of the residual is written and read again.
    keep: bool,
    shift: usize,
}

fn chunks(values: usize) -> usize {
    values.div_ceil(8192).clamp(1, 256)
}

/// Statistics, line and their buffers.
struct Line {
    mean: Buffer,
    variance: Buffer,
    line: Buffer,
}

fn check(shape: [usize; 4], case: Case) {
    let [n, c, h, w] = shape;
    let (plane, planes, total) = (h * w, n * c, n * c * h * w);
    // A mean far from zero: squares of the values themselves would lose it.
    let x: Vec<f32> = noise(total, 1).iter().map(|v| 40.0 + v).collect();
    let (dy, residual) = (noise(total, 2), noise(total, 3));
    let gamma: Vec<f32> = noise(c, 4).iter().map(|v| 1.0 + 0.3 * v).collect();
    let beta = noise(c, 5);
    let residual = case.residual.then_some(&residual[..]);
    let (gamma_given, beta_given) = (
        case.affine.then_some(&gamma[..]),
        case.affine.then_some(&beta[..]),
    );
    let activation = match case.silu {
        true => Activation::Silu,
        false => Activation::None,
    };
    let what = |part: &str| format!("{part} of {shape:?}, {case:?}");

    let isa = InstructionSet::detect();
    let map = [n, c, plane];
    let statistics = match case.batch_mode {
        true => batch_statistics(&x, map, isa),
        false => BatchStatistics {
            mean: noise(c, 6).iter().map(|v| 39.0 + v).collect(),
            variance: noise(c, 7).iter().map(|v| 0.5 + v * v).collect(),
        },
    };
    let affine = case.affine.then_some((&gamma[..], &beta[..]));
    let mut y = vec![0.0; total];
    batch_norm_forward(
        &x,
        map,
        &statistics,
        EPS,
        affine,
        residual,
        activation,
        isa,
        &mut y,
    );
    let expected = batch_norm_backward(
        &x,
        &dy,
        map,
        &statistics,
        EPS,
        affine,
        residual,
        activation,
        case.batch_mode,
        isa,
    );

    let mut device = Device::new("batch_norm", case.shift);
    let d = &mut device;
    let (x_there, dy_there) = (d.upload(&x), d.upload(&dy));
    let residual_there = d.upload_some(residual);
    let (gamma_there, beta_there) = (d.upload_some(gamma_given), d.upload_some(beta_given));
    let running = [d.upload(&vec![0.5f32; c]), d.upload(&vec![2f32; c])];
    let line = Line {
        mean: match case.batch_mode {
            true => d.reserve::<f32>(c),
            false => d.upload(&statistics.mean),
        },
        variance: match case.batch_mode {
            true => d.reserve::<f32>(c),
            false => d.upload(&statistics.variance),
        },
        line: d.reserve::<f32>(2 * c),
    };
    let (chunks, count) = (chunks(n * plane), (n * plane) as f64);
    let partial = d.reserve::<f64>(c * chunks * 2);
    if case.batch_mode {
        let arguments = args![x_there, n, c, plane, chunks, partial];
        d.launch("bn_moments", c * chunks, arguments);
        let arguments = args![
            partial,
            chunks,
            c,
            count,
            gamma_there,
            beta_there,
            EPS,
            0.1f64,
            running[0],
            running[1],
            line.mean,
            line.variance,
            line.line
        ];
        d.launch("bn_finish", one(c), arguments);
    } else {
        let arguments = args![
            line.mean,
            line.variance,
            gamma_there,
            beta_there,
            EPS,
            c,
            line.line
        ];
        d.launch("bn_line", one(c), arguments);
    }
    let activation = u32::from(case.silu);
    let y_there = d.reserve::<f32>(total);
    let arguments = args![
        x_there,
        line.line,
        residual_there,
        activation,
        c,
        plane,
        planes,
        y_there
    ];
    d.launch("bn_forward", each(total), arguments);

    let g = case.keep.then(|| d.reserve::<f32>(total));
    let arguments = args![
        x_there,
        dy_there,
        residual_there,
        line.mean,
        line.line,
        activation,
        n,
        c,
        plane,
        chunks,
        g,
        partial
    ];
    d.launch("bn_backward_sums", c * chunks, arguments);
    let [dgamma, dbeta, coefficients] = [c, c, 3 * c].map(|k| d.reserve::<f32>(k));
    let arguments = args![
        partial,
        chunks,
        c,
        count,
        u32::from(case.batch_mode),
        line.mean,
        line.variance,
        line.line,
        EPS,
        dgamma,
        dbeta,
        coefficients
    ];
    d.launch("bn_backward_finish", one(c), arguments);
    let dx = d.reserve::<f32>(total);
    let (from, residual_again, activation) = match g {
        Some(g) => (g, None, 0),
        None => (dy_there, residual_there, activation),
    };
    let arguments = args![
        x_there,
        from,
        residual_again,
        line.line,
        coefficients,
        activation,
        c,
        plane,
        planes,
        dx
    ];
    d.launch("bn_backward_dx", each(total), arguments);

    let memory = device.run();
    close(&what("mean"), &memory.read(line.mean), &statistics.mean);
    // A single value has the variance 0, which the kernel finds from sums of squares up to their rounding.
    let variance = memory.read::<f32>(line.variance);
    close_to(&what("variance"), &variance, &statistics.variance, 1e-3);
    let scale = 1.0 / (statistics.variance.iter().fold(1f32, |m, v| m.min(*v)) + EPS).sqrt();
    let input = 40.0 * scale; // the line scale x + offset cancels numbers of this size
    close_to(&what("y"), &memory.read(y_there), &y, 0.1 * input);
    close_to(&what("dx"), &memory.read(dx), &expected.x, input);
    let many = (total / c) as f32 * scale;
    close_to(&what("dgamma"), &memory.read(dgamma), &expected.gamma, many);
    close_to(&what("dbeta"), &memory.read(dbeta), &expected.beta, many);
    if let (Some(g), Some(r)) = (g, expected.residual) {
        close_to(&what("dresidual"), &memory.read(g), &r, input);
    }
    if case.batch_mode {
        let blend = |old: f32, new: &[f32], factor: f64| -> Vec<f32> {
            let mix = |v: &f32| (f64::from(old) * 0.9 + f64::from(*v) * factor * 0.1) as f32;
            new.iter().map(mix).collect()
        };
        let unbiased = count / (count - 1.0).max(1.0);
        close(
            &what("running mean"),
            &memory.read(running[0]),
            &blend(0.5, &statistics.mean, 1.0),
        );
        close(
            &what("running variance"),
            &memory.read(running[1]),
            &blend(2.0, &statistics.variance, unbiased),
        );
    }
}

#[test]
fn forward_and_backward() {
    if harness().is_none() {
        return;
    }
    for shape in SHAPES {
        for bits in 0..16_u8 {
            let residual = bits & 2 != 0;
            check(
                shape,
                Case {
                    affine: bits & 1 != 0,
                    residual,
                    silu: bits & 4 != 0,
                    batch_mode: bits & 8 != 0,
                    keep: residual && bits & 4 != 0,
                    shift: SHIFTS[usize::from(bits % 3 == 0)],
                },
            );
        }
    }
}

/// Several chunks per channel, and the gradient without a second tensor for that of the residual.
#[test]
fn large_maps() {
    if harness().is_none() {
        return;
    }
    for (shape, shift) in [([2, 2, 100, 100], 0), ([3, 1, 75, 75], 4)] {
        check(
            shape,
            Case {
                affine: true,
                residual: true,
                silu: true,
                batch_mode: true,
                keep: false,
                shift,
            },
        );
    }
}

/// The running values are those of the operation on tensors, bit for bit, where the statistics have the same bits.
#[test]
fn running_values() {
    if harness().is_none() {
        return;
    }
    let x = [1f32, 3., -2., 6., 5., 7., 0., 8.];
    let tensor = Tensor::new(&x, &Candle::Cpu)
        .unwrap()
        .reshape((2, 2, 1, 2))
        .unwrap();
    let running = BatchNormRunning::new(2, &Candle::Cpu).unwrap();
    let mode = BatchNormMode::Train { momentum: 0.1 };
    batch_norm(&tensor, None, &running, mode, 1e-5, None, Activation::None).unwrap();

    let mut d = Device::new("running", 0);
    let (x, partial) = (d.upload(&x), d.reserve::<f64>(4));
    d.launch(
        "bn_moments",
        2,
        args![x, 2usize, 2usize, 2usize, 1usize, partial],
    );
    let [mean, var] = [d.upload(&[0f32; 2]), d.upload(&[1f32; 2])];
    let [a, b, line] = [2, 2, 4].map(|k| d.reserve::<f32>(k));
    let none: Option<Buffer> = None;
    let arguments = args![
        partial, 1usize, 2usize, 4f64, none, none, 1e-5f32, 0.1f64, mean, var, a, b, line
    ];
    d.launch("bn_finish", 1, arguments);
    let memory = d.run();
    assert_eq!(
        memory.read::<f32>(mean),
        running.mean.to_vec1::<f32>().unwrap()
    );
    assert_eq!(
        memory.read::<f32>(var),
        running.var.to_vec1::<f32>().unwrap()
    );
}

/// Two ranks that add up their sums between the stages compute what one computes with all images.
#[test]
fn synchronised_statistics() {
    if harness().is_none() {
        return;
    }
    let [n, c, plane] = [3, 2, 35];
    let map = c * plane;
    let (x, dy) = (noise(n * map, 1), noise(n * map, 2));
    let isa = InstructionSet::detect();
    let statistics = batch_statistics(&x, [n, c, plane], isa);
    let whole = batch_norm_backward(
        &x,
        &dy,
        [n, c, plane],
        &statistics,
        EPS,
        None,
        None,
        Activation::Silu,
        true,
        isa,
    );
    let ranks = [0..map, map..3 * map];
    let none: Option<Buffer> = None;
    let count = (n * plane) as f64;
    let added = |sums: [Vec<f64>; 2]| -> Vec<f64> {
        sums[0].iter().zip(&sums[1]).map(|(a, b)| a + b).collect()
    };

    let moments = added(ranks.clone().map(|rank| {
        let images = rank.len() / map;
        let mut d = Device::new("rank", 0);
        let (x, partial, sums) = (
            d.upload(&x[rank]),
            d.reserve::<f64>(c * 2 * 2),
            d.reserve::<f64>(2 * c),
        );
        let arguments = args![x, images, c, plane, 2usize, partial];
        d.launch("bn_moments", 2 * c, arguments);
        d.launch("chunk_sums", 1, args![partial, c, 2usize, 2usize, sums]);
        d.run().read(sums)
    }));
    let finish = |d: &mut Device, moments: &[f64]| -> Line {
        let sums = d.upload(moments);
        let [mean, variance, line] = [c, c, 2 * c].map(|k| d.reserve::<f32>(k));
        let arguments = args![
            sums, 1usize, c, count, none, none, EPS, 0.1f64, none, none, mean, variance, line
        ];
        d.launch("bn_finish", 1, arguments);
        Line {
            mean,
            variance,
            line,
        }
    };
    let backward = |d: &mut Device, rank: std::ops::Range<usize>| {
        let images = rank.len() / map;
        let (x, dy) = (d.upload(&x[rank.clone()]), d.upload(&dy[rank]));
        let line = finish(d, &moments);
        let partial = d.reserve::<f64>(2 * c);
        let arguments = args![
            x, dy, none, line.mean, line.line, 1u32, images, c, plane, 1usize, none, partial
        ];
        d.launch("bn_backward_sums", c, arguments);
        (x, dy, line, partial)
    };
    let sums = added(ranks.clone().map(|rank| {
        let mut d = Device::new("rank", 0);
        let (.., partial) = backward(&mut d, rank);
        d.run().read(partial)
    }));
    let (mut dbeta, mut dx) = (vec![0f32; c], Vec::new());
    for rank in ranks {
        let mut d = Device::new("rank", 0);
        let (planes, total) = (rank.len() / plane, rank.len());
        let (x, dy, line, partial) = backward(&mut d, rank);
        let of_rank = d.reserve::<f32>(c);
        let local = args![
            partial,
            1usize,
            c,
            count,
            1u32,
            line.mean,
            line.variance,
            line.line,
            EPS,
            none,
            of_rank,
            none
        ];
        d.launch("bn_backward_finish", 1, local);
        let (all, coefficients, out) = (
            d.upload(&sums),
            d.reserve::<f32>(3 * c),
            d.reserve::<f32>(total),
        );
        let of_all = args![
            all,
            1usize,
            c,
            count,
            1u32,
            line.mean,
            line.variance,
            line.line,
            EPS,
            none,
            none,
            coefficients
        ];
        d.launch("bn_backward_finish", 1, of_all);
        let arguments = args![
            x,
            dy,
            none,
            line.line,
            coefficients,
            1u32,
            c,
            plane,
            planes,
            out
        ];
        d.launch("bn_backward_dx", 1, arguments);
        let memory = d.run();
        dx.extend(memory.read::<f32>(out));
        let found = memory.read::<f32>(of_rank);
        dbeta.iter_mut().zip(found).for_each(|(s, v)| *s += v);
        close(
            "mean of all ranks",
            &memory.read(line.mean),
            &statistics.mean,
        );
    }
    close_to("dx of all ranks", &dx, &whole.x, size(&dy));
    close_to("dbeta of all ranks", &dbeta, &whole.beta, size(&dy));
}
