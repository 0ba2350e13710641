//! depthwise.cu and depthwise_gradients.cu.

use cytoself_model::ops::{
    ConvGeometry, InstructionSet, Padding, depthwise_forward, depthwise_input_gradient,
    depthwise_weight_gradient,
};

use crate::data::{SHIFTS, close, noise};
use crate::device::{Argument, Buffer, Device, args, each, harness, one};

/// The arguments that all these kernels end with.
fn tail(g: &ConvGeometry) -> Vec<Argument> {
    let padding = |p: usize| Argument::I32(i32::try_from(p).unwrap());
    let sizes = [
        g.in_channels,
        g.height,
        g.width,
        g.out_height(),
        g.out_width(),
        g.kernel[0],
        g.kernel[1],
        g.stride,
    ];
    let mut tail: Vec<Argument> = sizes.map(Argument::from).to_vec();
    tail.extend([padding(g.padding.top), padding(g.padding.left)]);
    tail
}

/// The arguments for the gradient of x as a convolution of dy with turned kernels.
fn turned(g: &ConvGeometry) -> Vec<Argument> {
    let padding = |k: usize, p: usize| Argument::I32(k as i32 - 1 - p as i32);
    let sizes = [
        g.in_channels,
        g.out_height(),
        g.out_width(),
        g.height,
        g.width,
        g.kernel[0],
        g.kernel[1],
        1,
    ];
    let mut tail: Vec<Argument> = sizes.map(Argument::from).to_vec();
    tail.extend([
        padding(g.kernel[0], g.padding.top),
        padding(g.kernel[1], g.padding.left),
    ]);
    tail
}

fn suffix(g: &ConvGeometry) -> &'static str {
    match (g.kernel, g.stride) {
        ([3, 3], 1) => "k3s1",
        ([3, 3], 2) => "k3s2",
        ([5, 5], 1) => "k5s1",
        ([5, 5], 2) => "k5s2",
        _ => "any",
    }
}

struct Values {
    x: Buffer,
    w: Buffer,
    dy: Buffer,
}

/// Launches all three; `special` is the kernel's own suffix or `any`.
fn launch(d: &mut Device, v: &Values, g: &ConvGeometry, special: &str) -> [Buffer; 3] {
    let planes = g.batch * g.in_channels;
    let (inside, outside) = (
        planes * g.height * g.width,
        planes * g.out_height() * g.out_width(),
    );
    let taps = g.kernel[0] * g.kernel[1];
    let (y, dx) = (d.reserve::<f32>(outside), d.reserve::<f32>(inside));
    let arguments = [args![v.x, v.w, y, planes, 0u32], &tail(g)[..]].concat();
    d.launch(&format!("depthwise_{special}"), each(outside), &arguments);
    if g.stride == 1 {
        let arguments = [args![v.dy, v.w, dx, planes, 1u32], &turned(g)[..]].concat();
        d.launch(&format!("depthwise_{special}"), each(inside), &arguments);
    } else {
        let arguments = [args![v.dy, v.w, dx, planes], &tail(g)[..]].concat();
        d.launch(&format!("depthwise_dx_{special}"), each(inside), &arguments);
    }
    let chunks = (4096 / g.in_channels).clamp(1, g.batch);
    let (partial, dw) = (
        d.reserve::<f64>(g.in_channels * chunks * taps),
        d.reserve::<f32>(g.in_channels * taps),
    );
    let arguments = [args![v.x, v.dy, partial, g.batch, chunks], &tail(g)[..]].concat();
    d.launch(
        &format!("depthwise_dw_{special}"),
        g.in_channels * chunks,
        &arguments,
    );
    let arguments = args![partial, g.in_channels, chunks, taps, dw];
    d.launch("chunk_sums_f32", one(g.in_channels * taps), arguments);
    [y, dx, dw]
}

/// Leaves NaN in the shared memory that the gradient of the weights uses: nothing may depend on what is there.
fn spoil(d: &mut Device, g: &ConvGeometry) {
    let nan = ConvGeometry {
        batch: 256,
        in_channels: 1,
        out_channels: 1,
        height: 4,
        width: 4,
        ..*g
    };
    let [x, dy] = [16, nan.out_height() * nan.out_width()].map(|n| d.reserve::<f32>(256 * n));
    let partial = d.reserve::<f64>(25);
    let arguments = [args![x, dy, partial, 256usize, 1usize], &tail(&nan)[..]].concat();
    d.launch(&format!("depthwise_dw_{}", suffix(g)), 1, &arguments);
}

fn check(g: ConvGeometry, shift: usize) {
    let isa = InstructionSet::detect();
    let planes = g.batch * g.in_channels;
    let x = noise(planes * g.height * g.width, 1);
    let w = noise(g.in_channels * g.kernel[0] * g.kernel[1], 2);
    let dy = noise(planes * g.out_height() * g.out_width(), 3);
    let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
    depthwise_forward(&x, &w, &g, isa, &mut y);
    depthwise_input_gradient(&dy, &w, &g, isa, &mut dx);
    depthwise_weight_gradient(&x, &dy, &g, isa, &mut dw);

    let mut d = Device::new("depthwise", shift);
    let values = Values {
        x: d.upload(&x),
        w: d.upload(&w),
        dy: d.upload(&dy),
    };
    let mut suffixes = vec!["any"];
    if suffix(&g) != "any" {
        suffixes.push(suffix(&g));
        spoil(&mut d, &g);
    }
    let found: Vec<[Buffer; 3]> = suffixes
        .iter()
        .map(|s| launch(&mut d, &values, &g, s))
        .collect();
    let memory = d.run();
    for (suffix, found) in suffixes.iter().zip(found) {
        let expected = [("y", &y), ("dx", &dx), ("dw", &dw)];
        for (buffer, (part, expected)) in found.iter().zip(expected) {
            let what = format!("{part} by {suffix} of {g:?}");
            close(&what, &memory.read(*buffer), expected);
        }
    }
}

fn geometry(
    [batch, channels, height, width]: [usize; 4],
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
) -> ConvGeometry {
    ConvGeometry {
        batch,
        in_channels: channels,
        out_channels: channels,
        height,
        width,
        kernel,
        stride,
        padding,
    }
}

#[test]
fn forward_and_gradients() {
    if harness().is_none() {
        return;
    }
    // As TensorFlow pads at stride 2: less above and to the left.
    let below = |k: usize| Padding {
        top: (k - 1) / 2,
        bottom: k / 2,
        left: (k - 2) / 2,
        right: k / 2,
    };
    let mut number = 0;
    for k in [3, 5] {
        for stride in [1, 2] {
            for padding in [Padding::uniform(k / 2), below(k)] {
                for shape in [
                    [1, 1, 1, 1],
                    [3, 7, 4, 4],
                    [1, 64, 4, 4],
                    [3, 2, 25, 25],
                    [1, 1, 49, 51],
                    [3, 2, 7, 13],
                ] {
                    let g = geometry(shape, [k, k], stride, padding);
                    if g.is_valid() {
                        check(g, SHIFTS[number % 2]);
                        number += 1;
                    }
                }
            }
        }
    }
    assert!(number > 40);
}

#[test]
fn tiles_in_both_directions() {
    if harness().is_none() {
        return;
    }
    check(geometry([1, 2, 70, 66], [3, 3], 1, Padding::NONE), 0);
    check(
        geometry([2, 1, 100, 100], [5, 5], 2, Padding::uniform(2)),
        0,
    );
    // More maps than one tile takes.
    check(geometry([5, 64, 4, 4], [5, 5], 1, Padding::uniform(2)), 0);
}

#[test]
fn other_kernels_and_strides() {
    if harness().is_none() {
        return;
    }
    let more = Padding {
        top: 4,
        bottom: 1,
        left: 0,
        right: 6,
    };
    for (kernel, stride, padding) in [
        ([7, 7], 1, Padding::uniform(3)),
        ([7, 7], 2, Padding::uniform(3)),
        ([1, 1], 1, Padding::NONE),
        ([3, 5], 2, more),
        ([2, 3], 3, Padding::uniform(1)),
        ([3, 3], 1, more), // more zeros than the kernel is long
        ([3, 3], 3, Padding::uniform(1)),
    ] {
        check(geometry([3, 2, 10, 13], kernel, stride, padding), 0);
    }
}
