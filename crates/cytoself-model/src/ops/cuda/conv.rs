//! Convolution by cuDNN.

use std::sync::PoisonError;

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};
use cudarc::driver::CudaSlice;

use super::arrange::{crop, pad};
use super::dnn::{Direction, Format};
use super::launch::tiles;
use super::{Address, Gpu, u32_of};
use crate::ops::{ConvGeometry, Padding, Precision};

/// Tensor cores read channels in groups of 16 bytes.
const CHANNELS: usize = 8;

/// The arrays of a convolution; the direction says which is written.
#[derive(Clone, Copy)]
struct Arrays {
    x: Address,
    w: Address,
    y: Address,
}

pub(crate) fn forward(
    g: &ConvGeometry,
    x: &CudaStorage,
    xl: &Layout,
    w: &CudaStorage,
    wl: &Layout,
) -> Result<(CudaStorage, Shape)> {
    let gpu = &Gpu::of(x.device())?;
    let y = gpu.buffer(g.batch * g.out_channels * g.out_plane())?;
    let arrays = Arrays {
        x: gpu.argument(x, xl)?,
        w: gpu.argument(w, wl)?,
        y: gpu.at(&y),
    };
    run(gpu, Direction::Forward, g, arrays)?;
    gpu.stored(y, (g.batch, g.out_channels, g.out_height(), g.out_width()))
}

pub(crate) fn input_gradient(
    g: &ConvGeometry,
    x: &Tensor,
    w: &Tensor,
    dy: &Tensor,
) -> Result<Tensor> {
    let gpu = &Gpu::holding(x)?;
    let (w, dy) = (w.contiguous()?, dy.contiguous()?);
    let dx = gpu.buffer(x.elem_count())?;
    let arrays = Arrays {
        x: gpu.at(&dx),
        w: gpu.values(&w)?,
        y: gpu.values(&dy)?,
    };
    run(gpu, Direction::Input, g, arrays)?;
    Ok(gpu.tensor(dx, x.shape()))
}

pub(crate) fn weight_gradient(
    g: &ConvGeometry,
    x: &Tensor,
    w: &Tensor,
    dy: &Tensor,
) -> Result<Tensor> {
    let gpu = &Gpu::holding(x)?;
    if g.batch == 0 {
        return Ok(gpu.tensor(gpu.zeros(w.elem_count())?, w.shape()));
    }
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let dw = gpu.buffer(w.elem_count())?;
    let arrays = Arrays {
        x: gpu.values(&x)?,
        w: gpu.at(&dw),
        y: gpu.values(&dy)?,
    };
    run(gpu, Direction::Weights, g, arrays)?;
    Ok(gpu.tensor(dw, w.shape()))
}

fn run(gpu: &Gpu, direction: Direction, g: &ConvGeometry, arrays: Arrays) -> Result<()> {
    if g.batch * g.in_channels * g.out_channels == 0 {
        return Ok(());
    }
    let Padding {
        top,
        bottom,
        left,
        right,
    } = g.padding;
    if top == bottom && left == right {
        return run_even(gpu, direction, g, arrays);
    }
    // cuDNN knows the same padding on opposite sides only: the zeros are made part of the map.
    let (size, frame) = (
        [g.height, g.width],
        [g.height + top + bottom, g.width + left + right],
    );
    let framed = ConvGeometry {
        height: frame[0],
        width: frame[1],
        padding: Padding::NONE,
        ..*g
    };
    let planes = g.batch * g.in_channels;
    if direction == Direction::Input {
        let wide = gpu.buffer::<f32>(planes * framed.in_plane())?;
        let at = gpu.at(&wide);
        run_even(gpu, direction, &framed, Arrays { x: at, ..arrays })?;
        return crop(gpu, at, arrays.x, planes, size, frame, [top, left]);
    }
    let wide = pad(gpu, arrays.x, planes, size, frame, [top, left])?;
    let x = gpu.at(&wide);
    run_even(gpu, direction, &framed, Arrays { x, ..arrays })
}

/// A convolution whose padding is the same on opposite sides.
fn run_even(gpu: &Gpu, direction: Direction, g: &ConvGeometry, arrays: Arrays) -> Result<()> {
    match gpu.precision() {
        Precision::F32 => call(gpu, direction, g, Format::F32, arrays),
        Precision::Tf32 => call(gpu, direction, g, Format::Tf32, arrays),
        Precision::Bf16 => run_bf16(gpu, direction, g, arrays),
    }
}

fn call(
    gpu: &Gpu,
    direction: Direction,
    g: &ConvGeometry,
    format: Format,
    Arrays { x, w, y }: Arrays,
) -> Result<()> {
    let mut dnn = gpu.dnn().lock().unwrap_or_else(PoisonError::into_inner);
    dnn.convolve(gpu.stream(), direction, g, format, [x, w, y])
}

/// An array in bf16 with channels last and padded: where it is, and the f32 array it stands for.
struct Narrow {
    copy: CudaSlice<u16>,
    at: Address,
    /// Images, channels, values of a map, padded channels.
    sizes: [usize; 4],
}

impl Narrow {
    /// Room for the array at `at`, with `images` images in the copy.
    fn new(gpu: &Gpu, at: Address, [n, c, plane]: [usize; 3], images: usize) -> Result<Self> {
        let padded = c.next_multiple_of(CHANNELS);
        let values = images * plane * padded;
        let copy = if images == n {
            gpu.buffer(values)?
        } else {
            gpu.zeros(values)?
        };
        Ok(Self {
            copy,
            at,
            sizes: [n, c, plane, padded],
        })
    }

    fn fill(&self, gpu: &Gpu) -> Result<()> {
        let [n, c, plane, padded] = self.sizes;
        launch!(
            gpu,
            "to_channels_last_bf16",
            tiles(n, padded, plane),
            [
                self.at,
                u32_of(n)?,
                u32_of(c)?,
                u32_of(plane)?,
                u32_of(padded)?,
                gpu.at(&self.copy)
            ]
        );
        Ok(())
    }

    fn bring_back(&self, gpu: &Gpu) -> Result<()> {
        let [n, c, plane, padded] = self.sizes;
        launch!(
            gpu,
            "from_channels_last_bf16",
            tiles(n, c, plane),
            [
                gpu.at(&self.copy),
                u32_of(n)?,
                u32_of(c)?,
                u32_of(plane)?,
                u32_of(padded)?,
                self.at
            ]
        );
        Ok(())
    }
}

/// In bf16 with channels last, sums in f32.
fn run_bf16(gpu: &Gpu, direction: Direction, g: &ConvGeometry, arrays: Arrays) -> Result<()> {
    let (i, o) = (g.in_channels, g.out_channels);
    let wide = ConvGeometry {
        in_channels: i.next_multiple_of(CHANNELS),
        out_channels: o.next_multiple_of(CHANNELS),
        ..*g
    };
    let x = Narrow::new(gpu, arrays.x, [g.batch, i, g.in_plane()], g.batch)?;
    let w = Narrow::new(gpu, arrays.w, [o, i, g.taps()], wide.out_channels)?;
    let y = Narrow::new(gpu, arrays.y, [g.batch, o, g.out_plane()], g.batch)?;
    let (read, written) = match direction {
        Direction::Forward => ([&x, &w], &y),
        Direction::Input => ([&w, &y], &x),
        Direction::Weights => ([&x, &y], &w),
    };
    for array in read {
        array.fill(gpu)?;
    }
    let copies = Arrays {
        x: gpu.at(&x.copy),
        w: gpu.at(&w.copy),
        y: gpu.at(&y.copy),
    };
    call(gpu, direction, &wide, Format::Bf16, copies)?;
    written.bring_back(gpu)
}
