//! The layers on blocks of channels against `ops::reference`, in every instruction set, from and into memory full of NaN.

use candle_core::{Device, Tensor};

use super::*;
use crate::ops::batch_norm::{Activation, BatchNormRunning, FixedNorm};
use crate::ops::testing::{assert_close, normal};
use crate::ops::{ConvGeometry, reference};

/// Of single precision, whatever the order of the sums.
const TOLERANCE: f64 = 2e-5;

const CHANNELS: [usize; 6] = [1, 2, 7, 16, 33, 64];

/// Height and width, one of which is a single pixel.
const SIZES: [[usize; 2]; 4] = [[1, 1], [4, 4], [5, 13], [25, 25]];

/// A normalisation, and what it does.
struct Norm {
    fixed: FixedNorm,
    scale: Vec<f32>,
    offset: Vec<f32>,
    silu: bool,
}

impl Norm {
    fn new(channels: usize, silu: bool) -> Self {
        let (scale, offset) = (normal(channels, 1), normal(channels, 2));
        let tensor = |v: &[f32]| Tensor::new(v, &Device::Cpu).unwrap();
        let running = BatchNormRunning::new(channels, &Device::Cpu).unwrap();
        let affine = (tensor(&scale), tensor(&offset));
        let activation = if silu {
            Activation::Silu
        } else {
            Activation::None
        };
        let affine = Some((&affine.0, &affine.1));
        Self {
            fixed: FixedNorm::new(affine, &running, 0.0, activation).unwrap(),
            scale,
            offset,
            silu,
        }
    }

    fn apply(&self, y: &[f64], plane: usize, residual: Option<&[f32]>) -> Vec<f64> {
        let channels = self.scale.len();
        let one = |(i, y): (usize, &f64)| {
            let c = i / plane % channels;
            let other = residual.map_or(0.0, |r| f64::from(r[i]));
            let y = f64::from(self.scale[c]) * y + f64::from(self.offset[c]) + other;
            if self.silu { reference::silu(y) } else { y }
        };
        y.iter().enumerate().map(one).collect()
    }
}

/// Images `[images, channels, h, w]` in a layout, what a kernel must not read left NaN.
fn laid_out(layout: &Layout, planes: &[f32]) -> Vec<f32> {
    let image = layout.channels * layout.grid.pixels();
    let mut maps = vec![f32::NAN; planes.len() / image * layout.image()];
    let images = planes.chunks_exact(image);
    for (planes, map) in images.zip(maps.chunks_exact_mut(layout.image())) {
        layout.read(planes, &layout.places(), map);
    }
    maps
}

/// The inverse of [`laid_out`], for any grid.
fn planes(layout: &Layout, maps: &[f32]) -> Vec<f32> {
    let (places, step) = (layout.places(), layout.step);
    let image = |map: &[f32]| -> Vec<f32> {
        let channel = |c: usize| {
            let block = &map[c / step * layout.block()..];
            places.iter().map(move |p| block[p + c % step])
        };
        (0..layout.channels).flat_map(channel).collect()
    };
    maps.chunks_exact(layout.image()).flat_map(image).collect()
}

/// What TensorFlow pads where both sides differ.
fn uneven(kernel: usize) -> Padding {
    let before = (kernel - 1) / 2;
    Padding {
        top: before,
        bottom: kernel - 1 - before,
        left: before.saturating_sub(1),
        right: kernel - before.max(1),
    }
}

fn each_geometry(kernels: &[usize], check: impl Fn(ConvGeometry)) {
    for &kernel in kernels {
        for [height, width] in SIZES {
            for stride in [1, 2] {
                for padding in [Padding::uniform(kernel / 2), uneven(kernel)] {
                    for batch in [1, 3] {
                        check(ConvGeometry {
                            batch,
                            in_channels: 0,
                            out_channels: 0,
                            height,
                            width,
                            kernel: [kernel, kernel],
                            stride,
                            padding,
                        });
                    }
                }
            }
        }
    }
}

fn grids(g: &ConvGeometry) -> (Grid, Grid) {
    let size = [g.height, g.width];
    let from = Grid::framed(size, g.kernel[0], g.stride, g.padding);
    (from, Grid::dense([g.out_height(), g.out_width()]))
}

#[test]
fn dense_convolutions_equal_the_reference() {
    each_geometry(&[1, 3], |g| {
        for (i, inputs) in CHANNELS.into_iter().enumerate() {
            let outputs = CHANNELS[(i + g.batch + g.stride) % CHANNELS.len()];
            let g = ConvGeometry {
                in_channels: inputs,
                out_channels: outputs,
                ..g
            };
            let x = normal(g.batch * inputs * g.in_plane(), 3);
            let w = normal(outputs * inputs * g.kernel[0].pow(2), 4);
            let (grid, to) = grids(&g);
            let plane = to.pixels();
            let other = normal(g.batch * outputs * plane, 6);
            let product = reference::conv2d(&x, &w, &g, false);
            for (silu, residual) in [(false, None), (true, None), (false, Some(&other[..]))] {
                let norm = Norm::new(outputs, silu);
                let expected = norm.apply(&product, plane, residual);
                for &isa in InstructionSet::available() {
                    let wide = Layout::new(isa, inputs, grid.clone());
                    let narrow = Layout::narrow(isa, inputs, grid.clone());
                    for from in [wide, narrow] {
                        // Into a map as the next kernel of 5 x 5 reads it, and into a dense one.
                        let framed = Grid::framed(to.size, 5, 1, Padding::uniform(2));
                        for grid in [to.clone(), framed] {
                            let to = Layout::new(isa, outputs, grid);
                            let shape = [g.kernel[0], g.stride];
                            let layer = Dense::new(&w, &norm.fixed, shape, &from, &to);
                            let mut y = vec![f32::NAN; g.batch * to.image()];
                            let other = residual.map(|r| laid_out(&to, r));
                            layer.run(&laid_out(&from, &x), other.as_deref(), &mut y);
                            let what = format!("{isa:?} {g:?} {silu}");
                            assert_close(&planes(&to, &y), &expected, TOLERANCE, &what);
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn depthwise_convolutions_and_their_sums_equal_the_reference() {
    each_geometry(&[3, 5], |g| {
        for channels in CHANNELS {
            let g = ConvGeometry {
                in_channels: channels,
                out_channels: channels,
                ..g
            };
            let x = normal(g.batch * channels * g.in_plane(), 3);
            let w = normal(channels * g.kernel[0].pow(2), 4);
            let product = reference::conv2d(&x, &w, &g, true);
            let (grid, to) = grids(&g);
            let norm = Norm::new(channels, true);
            let expected = norm.apply(&product, to.pixels(), None);
            for &isa in InstructionSet::available() {
                let from = Layout::new(isa, channels, grid.clone());
                let to = Layout::new(isa, channels, to.clone());
                let layer = Filter::new(&w, &norm.fixed, [g.kernel[0], g.stride], &from, &to);
                let mut y = vec![f32::NAN; g.batch * to.image()];
                let mut sums = vec![f32::NAN; to.blocks() * isa.lanes()];
                let what = format!("{isa:?} {g:?}");
                let images = expected.chunks_exact(channels * to.grid.pixels());
                let maps = laid_out(&from, &x);
                let maps = maps.chunks_exact(from.image());
                for ((x, y), expected) in maps.zip(y.chunks_exact_mut(to.image())).zip(images) {
                    layer.run(x, y, &mut sums);
                    let maps = expected.chunks_exact(to.grid.pixels());
                    let expected: Vec<f64> = maps.map(|map| map.iter().sum()).collect();
                    assert_close(&sums[..channels], &expected, TOLERANCE, &what);
                }
                assert_close(&planes(&to, &y), &expected, TOLERANCE, &what);
            }
        }
    });
}

#[test]
fn gates_equal_the_reference() {
    for channels in CHANNELS {
        for hidden in [1, 3, 16, 17] {
            for size in SIZES {
                let plane = size[0] * size[1];
                let x = normal(channels * plane, 1);
                let [w1, w2] = [2, 3].map(|stream| normal(hidden * channels, stream));
                let (b1, b2) = (normal(hidden, 4), normal(channels, 5));
                let sums: Vec<f64> = x
                    .chunks_exact(plane)
                    .map(|map| map.iter().map(|v| f64::from(*v)).sum())
                    .collect();
                let means: Vec<f32> = sums.iter().map(|s| (s / plane as f64) as f32).collect();
                let first = reference::linear(&means, &w1, Some(&b1), [1, channels, hidden]);
                let active: Vec<f32> = first.iter().map(|v| reference::silu(*v) as f32).collect();
                let second = reference::linear(&active, &w2, Some(&b2), [1, hidden, channels]);
                let gate = |c: usize| 1.0 / (1.0 + (-second[c]).exp());
                let expected: Vec<f64> = x
                    .iter()
                    .enumerate()
                    .map(|(i, v)| f64::from(*v) * gate(i / plane))
                    .collect();
                for &isa in InstructionSet::available() {
                    let map = Layout::new(isa, channels, Grid::dense(size));
                    let layer = Gate::new([&w1, &b1, &w2, &b2], &map);
                    let mut y = laid_out(&map, &x);
                    let mut padded: Vec<f32> = sums.iter().map(|s| *s as f32).collect();
                    padded.resize(map.blocks() * isa.lanes(), 0.0);
                    layer.run(&padded, &mut vec![f32::NAN; layer.memory()], &mut y);
                    let what = format!("{isa:?}, {channels} channels, {hidden} hidden, {size:?}");
                    assert_close(&planes(&map, &y), &expected, TOLERANCE, &what);
                }
            }
        }
    }
}

#[test]
fn a_gate_hides_no_nan() {
    for &isa in InstructionSet::available() {
        let map = Layout::new(isa, 3, Grid::dense([1, 1]));
        let layer = Gate::new([&[1.0; 3], &[0.0], &[1.0; 3], &[0.0; 3]], &map);
        for bits in [0x7fc0_0000, 0x7fc0_0001, 0xffff_ffff] {
            let mut sums = vec![0.0; isa.lanes()];
            sums[1] = f32::from_bits(bits);
            let mut y = vec![1.0; map.image()];
            layer.run(&sums, &mut vec![0.0; layer.memory()], &mut y);
            assert!(y[..3].iter().all(|y| y.is_nan()), "{isa:?} {bits:x}");
        }
    }
}

#[test]
fn maps_go_into_frames_and_back() {
    for &isa in InstructionSet::available() {
        for channels in CHANNELS {
            for size in SIZES {
                let x = normal(2 * channels * size[0] * size[1], 1);
                let dense = Layout::new(isa, channels, Grid::dense(size));
                let grid = Grid::framed(size, 5, 2, uneven(5));
                let framed = Layout::new(isa, channels, grid);
                let from = laid_out(&dense, &x);
                let mut to = vec![f32::NAN; 2 * framed.image()];
                framed.grid.clear(isa.lanes(), &mut to);
                framed.copy(&from, &mut to);
                assert_eq!(to, laid_out(&framed, &x), "{isa:?} {channels} {size:?}");
                let mut back = vec![f32::NAN; x.len()];
                let maps = from.chunks_exact(dense.image());
                let image = channels * size[0] * size[1];
                for (map, planes) in maps.zip(back.chunks_exact_mut(image)) {
                    dense.write(map, planes);
                }
                assert_eq!(back, x, "{isa:?} {channels} {size:?}");
            }
        }
    }
}
