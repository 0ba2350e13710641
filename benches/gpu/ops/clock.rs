//! A device against the clock.

use std::io::{BufRead, Write};
use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use cytoself_model::ops::{
    self, Activation, Adam, AdamParams, BatchNormMode, BatchNormRunning, ConvAlgorithm, Padding,
};

use super::Failure;
use super::cases::noise;

/// Calls between two looks at the clock: a GPU works on while the next ones are enqueued.
const CALLS: usize = 5;

/// An operation on its inputs.
type Operation = Box<dyn Fn(&[Tensor]) -> candle_core::Result<Tensor>>;

/// Answers the questions of standard input.
pub(crate) fn answer(device: &Device) -> Result<(), Failure> {
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let (Some(batch), Some(budget), Some(kind)) = (words.next(), words.next(), words.next())
        else {
            break;
        };
        let numbers: Vec<usize> = words.map(str::parse).collect::<Result<_, _>>()?;
        let (batch, budget) = (batch.parse()?, budget.parse()?);
        match times(device, kind, &numbers, batch, budget) {
            Ok([forward, step]) => writeln!(output, "[{forward:e}, {step:e}]")?,
            Err(error) => {
                eprintln!("{line}: {error}");
                writeln!(output, "null")?;
            }
        }
        output.flush()?;
    }
    Ok(())
}

/// Median seconds of a call of `f`, for at least `budget` seconds and three looks at the clock.
fn time(
    device: &Device,
    budget: f64,
    mut f: impl FnMut() -> candle_core::Result<()>,
) -> candle_core::Result<f64> {
    f()?;
    device.synchronize()?;
    let (start, mut all) = (Instant::now(), Vec::new());
    while all.len() < 3 || start.elapsed().as_secs_f64() < budget {
        let begin = Instant::now();
        for _ in 0..CALLS {
            f()?;
        }
        device.synchronize()?;
        all.push(begin.elapsed().as_secs_f64() / CALLS as f64);
    }
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}

fn times(
    device: &Device,
    kind: &str,
    n: &[usize],
    batch: usize,
    budget: f64,
) -> Result<[f64; 2], Failure> {
    if let ("adam", &[count]) = (kind, n) {
        return Ok([adam(device, count, budget)?, 0.0]);
    }
    let (shapes, run) = operation(device, kind, n, batch)?;
    let inputs: Vec<Var> = shapes
        .iter()
        .zip(1..)
        .map(|(shape, seed)| Var::from_tensor(&noise(shape, seed)?.to_device(device)?))
        .collect::<candle_core::Result<_>>()?;
    let tensors: Vec<Tensor> = inputs.iter().map(|v| v.as_tensor().clone()).collect();
    let detached: Vec<Tensor> = tensors.iter().map(Tensor::detach).collect();
    let target = run(&detached)?.zeros_like()?;
    let forward = time(device, budget, || run(&detached).map(drop))?;
    let step = time(device, budget, || {
        let (loss, tape) = ops::record(|| ops::mse(&run(&tensors)?, &target))?;
        tape.backward(&loss).map(drop)
    })?;
    Ok([forward, step])
}

/// The shapes of the inputs and the operation of a kind.
fn operation(
    device: &Device,
    kind: &str,
    n: &[usize],
    batch: usize,
) -> Result<(Vec<Vec<usize>>, Operation), Failure> {
    let square = |c: usize, side: usize| vec![batch, c, side, side];
    Ok(match (kind, n) {
        ("conv", &[c, o, k, stride, side]) => (
            vec![square(c, side), vec![o, c, k, k]],
            Box::new(move |t| {
                let padding = Padding::uniform(k / 2);
                ops::conv2d(&t[0], &t[1], stride, padding, ConvAlgorithm::Auto)
            }),
        ),
        ("dw", &[c, k, stride, side]) => (
            vec![square(c, side), vec![c, 1, k, k]],
            Box::new(move |t| ops::depthwise_conv2d(&t[0], &t[1], stride, Padding::uniform(k / 2))),
        ),
        ("bn" | "bnsilu" | "bnres", &[c, side]) => {
            let running = BatchNormRunning::new(c, device)?;
            let (silu, residual) = (kind != "bn", kind == "bnres");
            let mut shapes = vec![square(c, side), vec![c], vec![c]];
            if residual {
                shapes.push(square(c, side));
            }
            let run = move |t: &[Tensor]| {
                let activation = if silu {
                    Activation::Silu
                } else {
                    Activation::None
                };
                let mode = BatchNormMode::Train { momentum: 0.1 };
                let affine = Some((&t[1], &t[2]));
                ops::batch_norm(&t[0], affine, &running, mode, 1e-5, t.get(3), activation)
            };
            (shapes, Box::new(run))
        }
        ("silu", &[c, side]) => (vec![square(c, side)], Box::new(|t| ops::silu(&t[0]))),
        ("up", &[c, from, to]) => (
            vec![square(c, from)],
            Box::new(move |t| ops::resize_bilinear(&t[0], to, to)),
        ),
        ("linear", &[inputs, outputs]) => (
            vec![vec![batch, inputs], vec![outputs, inputs], vec![outputs]],
            Box::new(|t| ops::linear(&t[0], &t[1], Some(&t[2]))),
        ),
        _ => return Err(format!("no operation {kind} {n:?}").into()),
    })
}

fn adam(device: &Device, count: usize, budget: f64) -> Result<f64, Failure> {
    let w = Var::from_tensor(&noise(&[count], 1)?.to_device(device)?)?;
    let mut adam = Adam::new(vec![("w".into(), w.clone())], AdamParams::adam_w(1e-4))?;
    let target = w.zeros_like()?;
    let (loss, tape) = ops::record(|| ops::mse(&w, &target))?;
    let gradients = tape.backward(&loss)?;
    Ok(time(device, budget, || adam.step(&gradients))?)
}
