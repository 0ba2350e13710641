//! The Rust side of `ops.py`: reads one operation per line, times it forward and backward, answers with one line of JSON.
//!
//! A line is `threads batch seconds kind numbers...`, the kinds as in `ops.py`. Times are per call: the least wall time and the
//! mean CPU time (all threads, from the kernel's scheduler statistics).

use cytoself_model::ops::{
    self, Activation, AdamParams, ConvAlgorithm, ConvGeometry, InstructionSet, Padding, RngKey,
};
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::Instant;

/// CPU seconds of all threads of this process.
fn cpu_seconds() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return f64::NAN;
    };
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path.join("schedstat")).ok();
    let nanoseconds = |text: String| {
        text.split_whitespace()
            .next()
            .and_then(|n| n.parse::<f64>().ok())
    };
    tasks
        .flatten()
        .filter_map(|task| read(task.path()))
        .filter_map(nanoseconds)
        .sum::<f64>()
        * 1e-9
}

/// (least wall seconds, mean CPU seconds) per call of `f`, for at least `budget` seconds and three calls.
fn time(budget: f64, mut f: impl FnMut()) -> [f64; 2] {
    f();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let (mut best, mut calls) = (f64::INFINITY, 0);
    while calls < 3 || start.elapsed().as_secs_f64() < budget {
        let call = Instant::now();
        f();
        best = best.min(call.elapsed().as_secs_f64());
        calls += 1;
    }
    [best, (cpu_seconds() - cpu) / f64::from(calls)]
}

fn values(n: usize) -> Vec<f32> {
    let key = RngKey {
        seed: 1,
        stream: n as u64,
        step: 0,
    };
    let mut v = vec![0.0; n];
    key.fill_uniform(0, &mut v);
    v.iter_mut().for_each(|v| *v -= 0.5);
    v
}

/// Forward and backward times of one operation.
fn measure(kind: &str, n: &[usize], batch: usize, budget: f64) -> Option<[[f64; 2]; 2]> {
    let isa = InstructionSet::detect();
    Some(match (kind, n) {
        ("conv", [c, o, k, s, side]) => {
            let g = ConvGeometry {
                batch,
                in_channels: *c,
                out_channels: *o,
                height: *side,
                width: *side,
                kernel: [*k, *k],
                stride: *s,
                padding: Padding::uniform(k / 2),
            };
            let (x, w) = (values(batch * c * side * side), values(o * c * k * k));
            let mut y = values(batch * o * g.out_height() * g.out_width());
            let dy = y.clone();
            let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
            let forward = time(budget, || {
                ops::conv2d_forward(black_box(&x), &w, &g, ConvAlgorithm::Auto, &mut y)
            });
            let backward = time(budget, || {
                ops::conv2d_input_gradient(black_box(&dy), &w, &g, ConvAlgorithm::Auto, &mut dx);
                ops::conv2d_weight_gradient(&x, &dy, &g, ConvAlgorithm::Auto, &mut dw);
            });
            [forward, backward]
        }
        ("dw", [c, k, s, side]) => {
            let g = ConvGeometry {
                batch,
                in_channels: *c,
                out_channels: *c,
                height: *side,
                width: *side,
                kernel: [*k, *k],
                stride: *s,
                padding: Padding::uniform(k / 2),
            };
            let (x, w) = (values(batch * c * side * side), values(c * k * k));
            let mut y = values(batch * c * g.out_height() * g.out_width());
            let dy = y.clone();
            let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
            let forward = time(budget, || {
                ops::depthwise_forward(black_box(&x), &w, &g, isa, &mut y)
            });
            let backward = time(budget, || {
                ops::depthwise_input_gradient(black_box(&dy), &w, &g, isa, &mut dx);
                ops::depthwise_weight_gradient(&x, &dy, &g, isa, &mut dw);
            });
            [forward, backward]
        }
        ("bn" | "bnsilu" | "bnres", [c, side]) => {
            let shape = [batch, *c, side * side];
            let (x, r) = (
                values(shape.iter().product()),
                values(shape.iter().product()),
            );
            let (gamma, beta) = (values(*c), values(*c));
            let (act, residual) = (
                if kind == "bn" {
                    Activation::None
                } else {
                    Activation::Silu
                },
                (kind == "bnres").then_some(&r[..]),
            );
            let affine = Some((&gamma[..], &beta[..]));
            let mut y = vec![0.0; x.len()];
            let mut statistics = ops::batch_statistics(&x, shape, isa);
            let forward = time(budget, || {
                statistics = ops::batch_statistics(black_box(&x), shape, isa);
                ops::batch_norm_forward(
                    &x,
                    shape,
                    &statistics,
                    1e-5,
                    affine,
                    residual,
                    act,
                    isa,
                    &mut y,
                );
            });
            let backward = time(budget, || {
                black_box(ops::batch_norm_backward(
                    &x,
                    &y,
                    shape,
                    &statistics,
                    1e-5,
                    affine,
                    residual,
                    act,
                    true,
                    isa,
                ));
            });
            [forward, backward]
        }
        ("silu", [c, side]) => {
            let x = values(batch * c * side * side);
            let (mut y, mut dx) = (x.clone(), x.clone());
            [
                time(budget, || ops::silu_forward(black_box(&x), isa, &mut y)),
                time(budget, || {
                    ops::silu_backward(black_box(&x), &y, isa, &mut dx)
                }),
            ]
        }
        ("up", [c, from, to]) => {
            let mut x = values(batch * c * from * from);
            let mut y = values(batch * c * to * to);
            [
                time(budget, || {
                    ops::resize_bilinear_forward(black_box(&x), [*from; 2], [*to; 2], &mut y)
                }),
                time(budget, || {
                    ops::resize_bilinear_backward(black_box(&y), [*from; 2], [*to; 2], &mut x)
                }),
            ]
        }
        ("linear", [inputs, outputs]) => {
            let shape = [batch, *inputs, *outputs];
            let (x, w, b) = (
                values(batch * inputs),
                values(inputs * outputs),
                values(*outputs),
            );
            let mut y = values(batch * outputs);
            let dy = y.clone();
            let (mut dx, mut dw) = (x.clone(), w.clone());
            let forward = time(budget, || {
                ops::linear_forward(black_box(&x), &w, Some(&b), shape, &mut y)
            });
            let backward = time(budget, || {
                ops::linear_input_gradient(black_box(&dy), &w, shape, &mut dx);
                ops::linear_weight_gradient(&x, &dy, shape, &mut dw);
            });
            [forward, backward]
        }
        ("adam", [n]) => {
            let (mut w, g, mut m, mut v) = (values(*n), values(*n), vec![0.0; *n], vec![0.0; *n]);
            let params = AdamParams::adam_w(1e-4);
            let forward = time(budget, || {
                ops::adam_step(&mut w, black_box(&g), &mut m, &mut v, &params, 3, isa)
            });
            [forward, [0.0; 2]]
        }
        _ => return None,
    })
}

fn main() -> std::io::Result<()> {
    // As every binary of ours: gradients that are made and dropped reuse their pages.
    cytoself_examples::cli::keep_freed_pages();
    let (input, mut output) = (std::io::stdin().lock(), std::io::stdout());
    for line in input.lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let mut number = || words.next().and_then(|w| w.parse::<f64>().ok());
        let (Some(threads), Some(batch), Some(budget)) = (number(), number(), number()) else {
            break;
        };
        let kind = words.next().unwrap_or_default().to_owned();
        let sizes: Vec<usize> = words.filter_map(|w| w.parse().ok()).collect();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads as usize)
            .build()
            .map_err(std::io::Error::other)?;
        match pool.install(|| measure(&kind, &sizes, batch as usize, budget)) {
            Some([f, b]) => writeln!(output, "[[{:e},{:e}],[{:e},{:e}]]", f[0], f[1], b[0], b[1])?,
            None => writeln!(output, "null")?,
        }
        output.flush()?;
    }
    Ok(())
}
