//! optimizer.cu.

use cytoself_model::ops::{AdamParams, InstructionSet, adam_step};

use crate::data::{SHIFTS, noise, same};
use crate::device::{Buffer, Device, Word, args, each, harness, one};

/// Weights, gradient, the two means.
fn parameter(count: usize, stream: u64) -> [Vec<f32>; 4] {
    let square = noise(count, 4 * stream + 3).iter().map(|v| v * v).collect();
    let [w, g, m] = [0, 1, 2].map(|k| noise(count, 4 * stream + k));
    [w, g, m, square]
}

/// The device's clock as its two words.
fn clock(steps: u64, learning_rate: f64) -> [u64; 2] {
    [steps, learning_rate.to_bits()]
}

fn factors(d: &mut Device, clock: Buffer, p: &AdamParams) -> Buffer {
    let factors = d.reserve::<f32>(7);
    let arguments = args![clock, p.beta1, p.beta2, p.eps, p.weight_decay, factors];
    d.launch("adam_factors", 1, arguments);
    factors
}

/// The same bits as on the processor (whose vector code rounds as the kernels do; its scalar code need not).
fn expected(values: &mut [Vec<f32>; 4], p: &AdamParams, step: u64) {
    let [w, g, m, v] = values;
    adam_step(w, g, m, v, p, step, InstructionSet::detect());
}

#[test]
fn one_parameter() {
    if harness().is_none() {
        return;
    }
    for (params, steps) in [
        (AdamParams::adam(1e-3), 0),
        (AdamParams::adam_w(4e-4), 6),
        (AdamParams::adam_w(0.1), 123_456),
    ] {
        for (count, shift) in [1usize, 1027].into_iter().zip(SHIFTS) {
            let mut values = parameter(count, 1);
            let mut d = Device::new("adam", shift);
            let there: [Buffer; 4] = std::array::from_fn(|i| d.upload(&values[i]));
            let clock = d.upload(&clock(steps, params.learning_rate));
            // Two steps: the clock goes on.
            for step in [steps + 1, steps + 2] {
                let f = factors(&mut d, clock, &params);
                let [w, g, m, v] = there;
                d.launch("adam", each(count), args![w, g, m, v, count as u64, f]);
                expected(&mut values, &params, step);
            }
            let memory = d.run();
            for (name, i) in [("w", 0), ("m", 2), ("v", 3)] {
                let what = format!("{name} after step {steps} and two of {params:?}");
                same(&what, &memory.read(there[i]), &values[i]);
            }
            assert_eq!(memory.read::<u64>(clock)[0], steps + 2);
        }
    }
}

#[test]
fn all_parameters_at_once() {
    if harness().is_none() {
        return;
    }
    let params = AdamParams::adam_w(1e-2);
    let counts = [3usize, 8192, 8193, 20_000, 1];
    let mut values: Vec<[Vec<f32>; 4]> = (0..)
        .zip(counts)
        .map(|(i, count)| parameter(count, i))
        .collect();
    let mut d = Device::new("many", 0);
    let there: Vec<[Buffer; 4]> = values
        .iter()
        .map(|v| std::array::from_fn(|i| d.upload(&v[i])))
        .collect();
    let mut slots = Vec::new();
    for (buffers, count) in there.iter().zip(counts) {
        slots.extend(buffers.map(Word::Address));
        slots.push(Word::Value(count as u64));
    }
    let slots = d.table(slots);
    let pieces: Vec<u32> = (0..)
        .zip(counts)
        .flat_map(|(i, count)| (0..count.div_ceil(8192) as u32).flat_map(move |k| [i, k]))
        .collect();
    let clock = d.upload(&clock(9, params.learning_rate));
    let f = factors(&mut d, clock, &params);
    let pieces_there = d.upload(&pieces);
    let arguments = args![slots, pieces_there, f];
    d.launch("adam_many", pieces.len() / 2, arguments);
    assert_eq!(one(counts.len()), 1);
    let memory = d.run();
    for (buffers, values) in there.iter().zip(&mut values) {
        expected(values, &params, 10);
        for i in 0..4 {
            same("a parameter", &memory.read(buffers[i]), &values[i]);
        }
    }
}
