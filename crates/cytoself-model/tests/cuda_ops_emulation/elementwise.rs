//! elementwise.cu, and common.cu's loops at any grid.

use candle_core::{Device as Candle, Tensor, Var};
use cytoself_model::ops::{self, InstructionSet};

use crate::data::{SHAPES, SHIFTS, close, close_to, noise, same, size};
use crate::device::{Device, args, each, harness, one};

fn values(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn activations_and_sums() {
    if harness().is_none() {
        return;
    }
    for (number, m) in [1usize, 3, 4, 1023, 5000].into_iter().enumerate() {
        for shift in SHIFTS {
            let (mut a, b) = (noise(m, 1), noise(m, 2));
            a.iter_mut().for_each(|v| *v *= 8.0);
            let (mut y, mut dx) = (vec![0.0; m], vec![0.0; m]);
            ops::silu_forward(&a, InstructionSet::detect(), &mut y);
            ops::silu_backward(&a, &b, InstructionSet::detect(), &mut dx);
            let var = Var::from_slice(&a, m, &Candle::Cpu).unwrap();
            let other = Tensor::from_slice(&b, m, &Candle::Cpu).unwrap();
            let positive = ops::relu(&var).unwrap();
            let gradients = (&positive * &other)
                .unwrap()
                .sum_all()
                .unwrap()
                .backward()
                .unwrap();
            let sum = values(&ops::add(&var, &other).unwrap());
            let scaled = values(&(var.as_tensor() * 0.3).unwrap());

            let mut d = Device::new("elementwise", shift);
            let (a, b) = (d.upload(&a), d.upload(&b));
            let out: [_; 7] = std::array::from_fn(|_| d.reserve::<f32>(m));
            let count = m as u64;
            // Any grid will do.
            let blocks = if number % 2 == 0 { each(m) } else { 3 };
            d.launch("silu_forward", blocks, args![a, count, out[0]]);
            d.launch("silu_backward", blocks, args![a, b, count, out[1]]);
            d.launch("relu_forward", blocks, args![a, count, out[2]]);
            d.launch("relu_backward", blocks, args![out[2], b, count, out[3]]);
            d.launch("add", blocks, args![a, b, count, out[4]]);
            d.launch("scale", blocks, args![a, 0.3f32, count, out[5]]);
            d.launch("fill", blocks, args![2.5f32, count, out[6]]);
            let memory = d.run();
            let found = out.map(|o| memory.read::<f32>(o));
            close_to("silu", &found[0], &y, 1e-2);
            close_to("silu dx", &found[1], &dx, 1e-1);
            same("relu", &found[2], &values(&positive));
            same("relu dx", &found[3], &values(gradients.get(&var).unwrap()));
            same("add", &found[4], &sum);
            same("scale", &found[5], &scaled);
            same("fill", &found[6], &vec![2.5; m]);
        }
    }
}

#[test]
fn extremes() {
    if harness().is_none() {
        return;
    }
    let x = [
        f32::NAN,
        f32::INFINITY,
        -100.0,
        100.0,
        0.0,
        f32::NEG_INFINITY,
    ];
    let mut d = Device::new("extremes", 0);
    let there = d.upload(&x);
    let [positive, y] = [(); 2].map(|()| d.reserve::<f32>(x.len()));
    d.launch("relu_forward", 1, args![there, 6u64, positive]);
    d.launch("silu_forward", 1, args![there, 6u64, y]);
    // In place.
    d.launch("add", 1, args![there, there, 6u64, there]);
    let memory = d.run();
    let positive = memory.read::<f32>(positive);
    assert!(positive[0].is_nan());
    assert_eq!(positive[1..], [f32::INFINITY, 0.0, 100.0, 0.0, 0.0]);
    let y = memory.read::<f32>(y);
    assert!(y[0].is_nan() && y[1] == f32::INFINITY);
    assert!(y[2].abs() < 1e-30 && y[3] == 100.0 && y[4] == 0.0);
    assert_eq!(memory.read::<f32>(there)[2..5], [-200.0, 200.0, 0.0]);
}

#[test]
fn biases() {
    if harness().is_none() {
        return;
    }
    for (number, shape) in SHAPES.into_iter().enumerate() {
        let [n, c, h, w] = shape;
        let (plane, total) = (h * w, n * c * h * w);
        let (x, b, dy) = (noise(total, 1), noise(c, 2), noise(total, 3));
        let var = Var::from_slice(&b, c, &Candle::Cpu).unwrap();
        let map = |v: &[f32]| Tensor::from_slice(v, (n, c, h, w), &Candle::Cpu).unwrap();
        let y = ops::bias_add(&map(&x), &var).unwrap();
        let gradients = (&y * map(&dy))
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();

        let mut d = Device::new("bias", SHIFTS[number % 2]);
        let (x, b, dy_there) = (d.upload(&x), d.upload(&b), d.upload(&dy));
        let (out, db) = (d.reserve::<f32>(total), d.reserve::<f32>(c));
        d.launch("bias_add", each(total), args![x, b, c, plane, n * c, out]);
        let chunks = 3;
        let partial = d.reserve::<f64>(c * chunks);
        let arguments = args![dy_there, n, c, plane, chunks, partial];
        d.launch("channel_sums", c * chunks, arguments);
        let arguments = args![partial, c, chunks, 1usize, db];
        d.launch("chunk_sums_f32", one(c), arguments);
        let memory = d.run();
        same(&format!("y of {shape:?}"), &memory.read(out), &values(&y));
        let expected = values(gradients.get(&var).unwrap());
        close_to(
            &format!("db of {shape:?}"),
            &memory.read(db),
            &expected,
            1.0,
        );
    }
}

#[test]
fn biases_of_dense_layers() {
    if harness().is_none() {
        return;
    }
    for (rows, columns) in [(1usize, 1usize), (3, 7), (200, 300)] {
        let (dy, b) = (noise(rows * columns, 1), noise(columns, 2));
        let mut expected = vec![0f64; columns];
        for row in dy.chunks(columns) {
            expected
                .iter_mut()
                .zip(row)
                .for_each(|(s, v)| *s += f64::from(*v));
        }
        let expected: Vec<f32> = expected.iter().map(|s| *s as f32).collect();
        let sums: Vec<f32> = dy
            .iter()
            .enumerate()
            .map(|(i, v)| v + b[i % columns])
            .collect();

        let chunks = rows.div_ceil(64).clamp(1, 64);
        let mut d = Device::new("columns", 0);
        let (dy_there, b) = (d.upload(&dy), d.upload(&b));
        let partial = d.reserve::<f64>(columns * chunks);
        let (db, y) = (d.reserve::<f32>(columns), d.reserve::<f32>(rows * columns));
        let arguments = args![dy_there, rows, columns, chunks, partial];
        d.launch_2d("column_sums", [columns.div_ceil(256), chunks], arguments);
        let arguments = args![partial, columns, chunks, 1usize, db];
        d.launch("chunk_sums_f32", one(columns), arguments);
        let arguments = args![dy_there, b, columns, 1usize, rows * columns, y];
        d.launch("bias_add", each(rows * columns), arguments);
        let memory = d.run();
        close_to("db", &memory.read(db), &expected, size(&dy));
        close("y", &memory.read(y), &sums);
    }
}
