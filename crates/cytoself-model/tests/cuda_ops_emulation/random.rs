//! random.cu.

use candle_core::{Device as Candle, Tensor};
use cytoself_model::ops::{RngKey, dropout_forward, stochastic_depth};

use crate::data::{SHIFTS, noise, same};
use crate::device::{Argument, Device, args, each, harness};

/// A key with something in every word.
const KEY: RngKey = RngKey {
    seed: 0x0123_4567_89AB_CDEF,
    stream: 0xFEDC_BA98_7654_3210,
    step: 0x0001_0000_0002,
};

/// The key as arguments, its step given, or read on the device while another is given.
fn key(d: &mut Device, on_device: bool) -> [Argument; 4] {
    let there = on_device.then(|| d.upload(&[KEY.step]));
    let step = if on_device { 99 } else { KEY.step };
    [
        KEY.seed.into(),
        KEY.stream.into(),
        step.into(),
        there.into(),
    ]
}

/// Draws that a part of a batch begins with: the whole's first, a whole block further, in the middle of a block.
const FIRSTS: [usize; 4] = [0, 8, 5, 4099];

#[test]
fn dropout_has_the_same_mask() {
    if harness().is_none() {
        return;
    }
    for m in [1usize, 6, 4096, 5003] {
        for ((on_device, shift), first) in [false, true]
            .into_iter()
            .zip(SHIFTS)
            .flat_map(|case| FIRSTS.map(|first| (case, first)))
        {
            // The values of a batch from `first` on.
            let whole = noise(first + m, 1);
            let mut expected = vec![0.0; first + m];
            dropout_forward(&whole, 0.3, KEY, 1, &mut expected);
            let mut d = Device::new("dropout", shift);
            let (x, y) = (d.upload(&whole[first..]), d.reserve::<f32>(m));
            let key = key(&mut d, on_device);
            let head = args![x, m as u64, 0.3f32];
            let arguments = [head, &key[..], args![first as u64, y]].concat();
            d.launch("dropout", each(m), &arguments);
            let what = format!("dropout of {m} from {first}");
            same(&what, &d.run().read(y), &expected[first..]);
        }
    }
}

#[test]
fn stochastic_depth_drops_the_same_samples() {
    if harness().is_none() {
        return;
    }
    for (samples, length, first) in [(1usize, 1usize, 0usize), (11, 50, 3), (9, 2048, 8)] {
        let whole = noise((first + samples) * length, 1);
        let tensor = Tensor::from_slice(&whole, (first + samples, length), &Candle::Cpu).unwrap();
        let expected = stochastic_depth(&tensor, 0.4, KEY).unwrap();
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        let mut d = Device::new("depth", 0);
        let start = first * length;
        let (x, y) = (
            d.upload(&whole[start..]),
            d.reserve::<f32>(samples * length),
        );
        let key = key(&mut d, true);
        let head = args![x, samples, length as u64, 0.4f32];
        let arguments = [head, &key[..], args![first as u64, y]].concat();
        let grid = [length.div_ceil(1024).clamp(1, 1024), samples.min(4)];
        d.launch_2d("stochastic_depth", grid, &arguments);
        let what = format!("stochastic depth of {samples} x {length} from {first}");
        same(&what, &d.run().read(y), &expected[start..]);
    }
}

/// One plane after its symmetry, written as three steps: a transposition, then rows and columns the other way round.
fn turned(plane: &[f32], [h, w]: [usize; 2], symmetry: u32) -> Vec<f32> {
    let mut plane = plane.to_vec();
    if symmetry & 4 != 0 {
        let before = plane.clone();
        for (i, v) in plane.iter_mut().enumerate() {
            *v = before[i % w * w + i / w];
        }
    }
    if symmetry & 1 != 0 {
        plane = plane.chunks(w).rev().flatten().copied().collect();
    }
    if symmetry & 2 != 0 {
        plane.chunks_mut(w).for_each(<[f32]>::reverse);
    }
    assert_eq!(plane.len(), h * w);
    plane
}

#[test]
fn augmentation_applies_the_drawn_symmetries() {
    if harness().is_none() {
        return;
    }
    for (c, [h, w], symmetries) in [
        (2usize, [3usize, 3usize], (0..8).collect::<Vec<u32>>()),
        (1, [25, 25], vec![6, 3, 5]),
        (3, [4, 7], vec![0, 1, 2, 3]),
    ] {
        let n = symmetries.len();
        let x = noise(n * c * h * w, 1);
        let expected: Vec<f32> = x
            .chunks(h * w)
            .enumerate()
            .flat_map(|(i, plane)| turned(plane, [h, w], symmetries[i / c]))
            .collect();
        let mut d = Device::new("augment", 0);
        let (x, s) = (d.upload(&x), d.upload(&symmetries));
        let y = d.reserve::<f32>(n * c * h * w);
        let arguments = args![x, s, n, c, h, w, y];
        d.launch("augment", each(n * c * h * w), arguments);
        same(
            &format!("{n} x {c} of {h} x {w}"),
            &d.run().read(y),
            &expected,
        );
    }
    // As the loader turns: the quarter turn of the unit test in training/augment.rs.
    let mut d = Device::new("augment", 0);
    let image: Vec<f32> = (0..9u8).map(f32::from).collect();
    let (x, s, y) = (d.upload(&image), d.upload(&[6u32]), d.reserve::<f32>(9));
    let arguments = args![x, s, 1usize, 1usize, 3usize, 3usize, y];
    d.launch("augment", 1, arguments);
    let quarter = [6.0, 3.0, 0.0, 7.0, 4.0, 1.0, 8.0, 5.0, 2.0];
    same("a quarter turn", &d.run().read(y), &quarter);
}
