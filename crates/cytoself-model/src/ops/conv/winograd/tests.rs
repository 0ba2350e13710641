//! Winograd's convolution against `ops::reference`, in every instruction set, from and into memory full of NaN.

use super::*;
use crate::ops::reference;
use crate::ops::testing::{assert_close, normal};

/// Winograd's transforms lose about a digit.
const TOLERANCE: f64 = 2e-4;

/// Channels on either side of whole vectors and of groups of rows, maps of a tile, of parts of tiles, and of several tasks.
fn shapes() -> Vec<ConvGeometry> {
    let one_side = Padding {
        top: 1,
        bottom: 0,
        left: 1,
        right: 0,
    };
    let two_sides = Padding {
        top: 2,
        bottom: 1,
        left: 0,
        right: 2,
    };
    let paddings = [Padding::uniform(1), Padding::NONE, one_side, two_sides];
    let mut all = Vec::new();
    for (channels, map) in [
        ([1, 1], [3, 3]),
        ([2, 7], [4, 4]),
        ([16, 12], [9, 30]),
        ([17, 13], [25, 25]),
        ([33, 6], [13, 50]),
        ([8, 64], [7, 5]),
        ([5, 3], [67, 66]),
    ] {
        for (batch, padding) in [1, 3, 2, 1].into_iter().zip(paddings) {
            all.push(ConvGeometry {
                batch,
                in_channels: channels[0],
                out_channels: channels[1],
                height: map[0],
                width: map[1],
                kernel: [3, 3],
                stride: 1,
                padding,
            });
        }
    }
    all
}

/// What a kernel does not write itself, it must not use.
fn spoil_scratch() {
    scratch(1 << 20, |memory| memory.fill(f32::NAN));
}

#[test]
fn every_variant_equals_the_reference() {
    // One thread, whose scratch memory is spoilt.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.build().unwrap().install(compare);
}

fn compare() {
    for g in shapes() {
        let x = normal(g.batch * g.in_channels * g.in_plane(), 1);
        let w = normal(g.out_channels * g.in_channels * g.taps(), 2);
        let y = reference::conv2d(&x, &w, &g, false);
        let dy = normal(y.len(), 3);
        let (dx, dw) = reference::conv2d_gradients(&x, &w, &dy, &g, false);
        for &isa in InstructionSet::available() {
            let what = format!("{isa:?} {g:?}");
            let mut found = vec![f32::NAN; y.len()];
            spoil_scratch();
            forward(&x, &w, &g, isa, &mut found);
            assert_close(&found, &y, TOLERANCE, &what);
            let mut found = vec![f32::NAN; x.len()];
            spoil_scratch();
            input_gradient(&dy, &w, &g, isa, &mut found);
            assert_close(&found, &dx, TOLERANCE, &format!("dx {what}"));
            let mut found = vec![f32::NAN; w.len()];
            spoil_scratch();
            weight_gradient(&x, &dy, &g, isa, &mut found);
            assert_close(&found, &dw, TOLERANCE, &format!("dw {what}"));
        }
    }
}
