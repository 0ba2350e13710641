//! loss.cu.

use candle_core::{Device as Candle, Tensor, Var};
use cytoself_model::ops::{self, cross_entropy_forward, mse_forward};

use crate::data::{SHIFTS, close, noise, same};
use crate::device::{Buffer, Device, args, each, harness};

#[test]
fn mean_squared_error() {
    if harness().is_none() {
        return;
    }
    for m in [1usize, 7, 10_000, 30_001] {
        for shift in SHIFTS {
            let (a, b) = (noise(m, 1), noise(m, 2));
            let [va, vb] = [&a, &b].map(|v| Var::from_slice(v, m, &Candle::Cpu).unwrap());
            let store = (ops::mse(&va, &vb).unwrap() * 0.7)
                .unwrap()
                .backward()
                .unwrap();
            let gradient = |v: &Var| store.get(v).unwrap().to_vec1::<f32>().unwrap();

            let mut d = Device::new("mse", shift);
            let (a_there, b_there, dy) = (d.upload(&a), d.upload(&b), d.upload(&[0.7f32]));
            let chunks = m.div_ceil(8192).clamp(1, 1024);
            let (partial, y) = (d.reserve::<f64>(chunks), d.reserve::<f32>(1));
            let count = m as u64;
            let arguments = args![a_there, b_there, count, chunks, partial];
            d.launch("mse_partial", chunks, arguments);
            d.launch("mean", 1, args![partial, chunks, m as f64, y]);
            let [da, db, only] = [(); 3].map(|()| d.reserve::<f32>(m));
            let arguments = args![a_there, b_there, count, dy, da, db];
            d.launch("mse_backward", each(m), arguments);
            let none: Option<Buffer> = None;
            let arguments = args![a_there, b_there, count, dy, none, only];
            d.launch("mse_backward", each(m), arguments);
            let memory = d.run();
            close("mse", &memory.read(y), &[mse_forward(&a, &b)]);
            same("da", &memory.read(da), &gradient(&va));
            same("db", &memory.read(db), &gradient(&vb));
            same("db alone", &memory.read(only), &gradient(&vb));
        }
    }
}

#[test]
fn cross_entropy() {
    if harness().is_none() {
        return;
    }
    for (rows, classes) in [(1usize, 1usize), (3, 7), (5, 1311), (300, 2)] {
        let mut logits = noise(rows * classes, 1);
        logits.iter_mut().for_each(|v| *v = 30.0 * *v + 100.0);
        let labels: Vec<u32> = (0..rows).map(|r| (r * 5 % classes) as u32).collect();
        let var = Var::from_slice(&logits, (rows, classes), &Candle::Cpu).unwrap();
        let there = Tensor::from_slice(&labels, rows, &Candle::Cpu).unwrap();
        let loss = ops::cross_entropy(&var, &there).unwrap();
        let store = (loss * 0.3).unwrap().backward().unwrap();
        let gradient = store.get(&var).unwrap().flatten_all().unwrap();

        let mut d = Device::new("entropy", 0);
        let (x, l, dy) = (d.upload(&logits), d.upload(&labels), d.upload(&[0.3f32]));
        let [losses, totals] = [(); 2].map(|()| d.reserve::<f64>(rows));
        let (bad, y) = (d.upload(&[0u32]), d.reserve::<f32>(1));
        let dx = d.reserve::<f32>(rows * classes);
        let arguments = args![x, l, rows, classes, losses, totals, bad];
        d.launch("cross_entropy_rows", rows, arguments);
        d.launch("mean", 1, args![losses, rows, rows as f64, y]);
        let arguments = args![x, l, totals, rows, classes, dy, dx];
        d.launch("cross_entropy_backward", rows.min(4), arguments);
        let memory = d.run();
        let expected = cross_entropy_forward(&logits, &labels, classes);
        close("cross entropy", &memory.read(y), &[expected]);
        close("dx", &memory.read(dx), &gradient.to_vec1::<f32>().unwrap());
        assert_eq!(memory.read::<u32>(bad), [0]);
    }
}

#[test]
fn the_first_label_that_is_no_class_is_told() {
    if harness().is_none() {
        return;
    }
    let mut d = Device::new("labels", 0);
    let (x, labels, bad) = (
        d.upload(&noise(15, 1)),
        d.upload(&[2u32, 0, 3, 1, 9]),
        d.upload(&[0u32]),
    );
    let [losses, totals] = [(); 2].map(|()| d.reserve::<f64>(5));
    let arguments = args![x, labels, 5usize, 3usize, losses, totals, bad];
    d.launch("cross_entropy_rows", 5, arguments);
    let memory = d.run();
    assert_eq!(!memory.read::<u32>(bad)[0], 2);
    let nan: Vec<bool> = memory
        .read::<f64>(losses)
        .iter()
        .map(|l| l.is_nan())
        .collect();
    assert_eq!(nan, [false, false, true, false, true]);
}

#[test]
fn rows_whose_first_largest_value_is_their_labels() {
    if harness().is_none() {
        return;
    }
    let mut d = Device::new("hits", 0);
    let rows = [
        [1f32, 3., 2.],
        [3., 3., 2.],
        [3., 3., 2.],
        [0., -1., -2.],
        [0., 0., 0.],
    ];
    let (x, labels) = (d.upload(&rows.concat()), d.upload(&[1u32, 0, 1, 9, 2]));
    let (hits, count) = (d.reserve::<f64>(5), d.reserve::<f32>(1));
    d.launch("row_hits", 2, args![x, labels, 5usize, 3usize, hits]);
    d.launch("mean", 1, args![hits, 5usize, 1f64, count]);
    let wide: Vec<f32> = (0..1311).map(|i| (i * 37 % 1311) as f32).collect();
    let largest = wide.iter().position(|v| *v == 1310.0).unwrap() as u32;
    let (wide, label) = (d.upload(&wide), d.upload(&[largest]));
    let found = d.reserve::<f64>(1);
    d.launch("row_hits", 1, args![wide, label, 1usize, 1311usize, found]);
    let memory = d.run();
    assert_eq!(memory.read::<f64>(hits), [1., 1., 0., 0., 0.]);
    assert_eq!(memory.read::<f32>(count), [2.]);
    assert_eq!(memory.read::<f64>(found), [1.]);
}
