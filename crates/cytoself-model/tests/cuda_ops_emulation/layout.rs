//! layout.cu.

use candle_core::{DType, Device as Candle, Tensor};
use cytoself_model::ops;

use crate::data::{SHAPES, SHIFTS, noise, same};
use crate::device::{Device, args, each, harness};

fn values(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Blocks over tiles of 32 x 32.
fn tiles(batch: usize, rows: usize, columns: usize) -> usize {
    (batch * rows.div_ceil(32) * columns.div_ceil(32)).min(65536)
}

#[test]
fn joining_and_splitting_channels() {
    if harness().is_none() {
        return;
    }
    for (number, (n, ca, cb, plane)) in [(1, 1, 1, 1), (3, 2, 7, 25), (2, 4, 3, 16)]
        .into_iter()
        .enumerate()
    {
        let (a, b) = (noise(n * ca * plane, 1), noise(n * cb * plane, 2));
        let map =
            |v: &[f32], c: usize| Tensor::from_slice(v, (n, c, 1, plane), &Candle::Cpu).unwrap();
        let joined = values(&ops::concat_channels(&[&map(&a, ca), &map(&b, cb)]).unwrap());

        let mut d = Device::new("join", SHIFTS[number % 2]);
        let parts = [(d.upload(&a), ca, 0), (d.upload(&b), cb, ca)];
        let y = d.reserve::<f32>(joined.len());
        let pitch = ((ca + cb) * plane) as u64;
        let mut back = Vec::new();
        for (part, c, before) in parts {
            let (length, start) = ((c * plane) as u64, (before * plane) as u64);
            let rows = n as u64;
            let grid = each(n * c * plane);
            let arguments = args![part, 0u64, length, y, start, pitch, rows, length];
            d.launch("copy_rows", grid, arguments);
            let again = d.reserve::<f32>(n * c * plane);
            back.push((again, start, length, grid));
        }
        for (again, start, length, grid) in &back {
            let arguments = args![y, *start, pitch, *again, 0u64, *length, n as u64, *length];
            d.launch("copy_rows", *grid, arguments);
        }
        let memory = d.run();
        same("joined", &memory.read(y), &joined);
        same("first part", &memory.read(back[0].0), &a);
        same("second part", &memory.read(back[1].0), &b);
    }
}

#[test]
fn channels_last() {
    if harness().is_none() {
        return;
    }
    for (number, [n, c, h, w]) in SHAPES.into_iter().enumerate() {
        let plane = h * w;
        let x = noise(n * c * plane, 1);
        let tensor = Tensor::from_slice(&x, (n, c, h, w), &Candle::Cpu).unwrap();
        let last = tensor.permute((0, 2, 3, 1)).unwrap();
        let mut d = Device::new("last", SHIFTS[number % 2]);
        let there = d.upload(&x);
        let [y, back] = [(); 2].map(|()| d.reserve::<f32>(x.len()));
        let blocks = tiles(n, c, plane);
        d.launch("transpose", blocks, args![there, n, c, plane, y]);
        d.launch("transpose", 2, args![y, n, plane, c, back]);

        let padded = c.next_multiple_of(8);
        let half = d.reserve::<u16>(n * plane * padded);
        let single = d.reserve::<f32>(x.len());
        let blocks = tiles(n, padded, plane);
        let arguments = args![there, n, c, plane, padded, half];
        d.launch("to_channels_last_bf16", blocks, arguments);
        let blocks = tiles(n, c, plane);
        let arguments = args![half, n, c, plane, padded, single];
        d.launch("from_channels_last_bf16", blocks, arguments);
        let memory = d.run();
        same("channels last", &memory.read(y), &values(&last));
        same("and back", &memory.read(back), &x);
        let rounded = |t: &Tensor| {
            values(
                &t.to_dtype(DType::BF16)
                    .unwrap()
                    .to_dtype(DType::F32)
                    .unwrap(),
            )
        };
        same("rounded and back", &memory.read(single), &rounded(&tensor));
        let zeros = last.pad_with_zeros(3, 0, padded - c).unwrap();
        let half: Vec<f32> = memory
            .read::<u16>(half)
            .iter()
            .map(|v| f32::from_bits(u32::from(*v) << 16))
            .collect();
        same("rounded", &half, &rounded(&zeros));
    }
}

#[test]
fn rounding_to_bf16() {
    if harness().is_none() {
        return;
    }
    let mut x = noise(1000, 1);
    // Ties to both sides, the largest float, subnormals, infinities, NaN.
    x.extend(
        [
            0x3f80_8000,
            0x3f81_8000,
            0x3f80_8001,
            0x3f80_7fff,
            0x7f7f_ffff,
            0x0000_0001,
            0x0000_8000,
            0x8001_8000,
            0x7f80_0000,
            0xff80_0000,
            0x7f80_0001,
            0xffff_ffff,
        ]
        .map(f32::from_bits),
    );
    for count in [x.len(), x.len() - 3] {
        let x = &x[x.len() - count..];
        let expected = Tensor::from_slice(x, count, &Candle::Cpu)
            .unwrap()
            .to_dtype(DType::BF16)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap();
        for shift in SHIFTS {
            let mut d = Device::new("bf16", shift);
            let there = d.upload(x);
            let (half, back) = (d.reserve::<u16>(count), d.reserve::<f32>(count));
            d.launch("to_bf16", each(count), args![there, count as u64, half]);
            d.launch("from_bf16", 2, args![half, count as u64, back]);
            same("bf16", &d.run().read(back), &values(&expected));
        }
    }
}
