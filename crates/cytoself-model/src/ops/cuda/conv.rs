//! Convolution by cuDNN.

use std::sync::{OnceLock, PoisonError};

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

/// What a forward pass leaves to its backward pass: the weights as the convolution read them.
pub(crate) struct Kept(Narrow);

/// Copies in bf16 that there are already.
#[derive(Clone, Copy, Default)]
struct Copies<'a> {
    w: Option<&'a Narrow>,
    y: Option<&'a Narrow>,
}

pub(crate) fn forward(
    g: &ConvGeometry,
    x: &CudaStorage,
    xl: &Layout,
    w: &CudaStorage,
    wl: &Layout,
    kept: &OnceLock<Kept>,
) -> Result<(CudaStorage, Shape)> {
    let gpu = &Gpu::of(x.device())?;
    let y = gpu.buffer(g.batch * g.out_channels * g.out_plane())?;
    let arrays = Arrays {
        x: gpu.argument(x, xl)?,
        w: gpu.argument(w, wl)?,
        y: gpu.at(&y),
    };
    let narrow = narrow(gpu, g, || Narrow::weights(gpu, arrays.w, g))?;
    let copies = Copies {
        w: narrow.as_ref(),
        y: None,
    };
    run(gpu, Direction::Forward, g, arrays, copies)?;
    if let Some(narrow) = narrow {
        kept.get_or_init(|| Kept(narrow));
    }
    gpu.stored(y, (g.batch, g.out_channels, g.out_height(), g.out_width()))
}

/// The gradients of the map and of the weights, as far as they are `wanted`.
pub(crate) fn gradients(
    g: &ConvGeometry,
    [x, w, dy]: [&Tensor; 3],
    wanted: [bool; 2],
    kept: &OnceLock<Kept>,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let gpu = &Gpu::holding(x)?;
    let (x, w, dy) = (&x.contiguous()?, &w.contiguous()?, &dy.contiguous()?);
    // Both read it.
    let shape = [g.batch, g.out_channels, g.out_plane()];
    let narrow = narrow(gpu, g, || {
        Narrow::filled(gpu, gpu.values(dy)?, shape, g.batch)
    })?;
    let copies = Copies {
        w: kept.get().map(|kept| &kept.0),
        y: narrow.as_ref(),
    };
    let dx = wanted[0].then(|| input_gradient(gpu, g, [x, w, dy], copies));
    let dw = wanted[1].then(|| weight_gradient(gpu, g, [x, w, dy], copies));
    Ok((dx.transpose()?, dw.transpose()?))
}

/// What `make` makes, where convolutions are computed in bf16 and there is something to compute.
fn narrow(
    gpu: &Gpu,
    g: &ConvGeometry,
    make: impl FnOnce() -> Result<Narrow>,
) -> Result<Option<Narrow>> {
    let wanted = gpu.precision() == Precision::Bf16 && !is_empty(g);
    wanted.then(make).transpose()
}

fn input_gradient(
    gpu: &Gpu,
    g: &ConvGeometry,
    [x, w, dy]: [&Tensor; 3],
    copies: Copies<'_>,
) -> Result<Tensor> {
    let dx = gpu.buffer(x.elem_count())?;
    let arrays = Arrays {
        x: gpu.at(&dx),
        w: gpu.values(w)?,
        y: gpu.values(dy)?,
    };
    run(gpu, Direction::Input, g, arrays, copies)?;
    Ok(gpu.tensor(dx, x.shape()))
}

fn weight_gradient(
    gpu: &Gpu,
    g: &ConvGeometry,
    [x, w, dy]: [&Tensor; 3],
    copies: Copies<'_>,
) -> Result<Tensor> {
    if g.batch == 0 {
        return Ok(gpu.tensor(gpu.zeros(w.elem_count())?, w.shape()));
    }
    let dw = gpu.buffer(w.elem_count())?;
    let arrays = Arrays {
        x: gpu.values(x)?,
        w: gpu.at(&dw),
        y: gpu.values(dy)?,
    };
    run(gpu, Direction::Weights, g, arrays, copies)?;
    Ok(gpu.tensor(dw, w.shape()))
}

/// Whether nothing is to be multiplied.
fn is_empty(g: &ConvGeometry) -> bool {
    g.batch * g.in_channels * g.out_channels == 0
}

fn run(
    gpu: &Gpu,
    direction: Direction,
    g: &ConvGeometry,
    arrays: Arrays,
    copies: Copies<'_>,
) -> Result<()> {
    if is_empty(g) {
        return Ok(());
    }
    let Padding {
        top,
        bottom,
        left,
        right,
    } = g.padding;
    if top == bottom && left == right {
        return run_even(gpu, direction, g, arrays, copies);
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
        run_even(gpu, direction, &framed, Arrays { x: at, ..arrays }, copies)?;
        return crop(gpu, at, arrays.x, planes, size, frame, [top, left]);
    }
    let wide = pad(gpu, arrays.x, planes, size, frame, [top, left])?;
    let x = gpu.at(&wide);
    run_even(gpu, direction, &framed, Arrays { x, ..arrays }, copies)
}

/// A convolution whose padding is the same on opposite sides.
fn run_even(
    gpu: &Gpu,
    direction: Direction,
    g: &ConvGeometry,
    arrays: Arrays,
    copies: Copies<'_>,
) -> Result<()> {
    match gpu.precision() {
        Precision::F32 => call(gpu, direction, g, Format::F32, arrays),
        Precision::Tf32 => call(gpu, direction, g, Format::Tf32, arrays),
        Precision::Bf16 => run_bf16(gpu, direction, g, arrays, copies),
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

    /// As [`Narrow::new`], with the values of the array.
    fn filled(gpu: &Gpu, at: Address, shape: [usize; 3], images: usize) -> Result<Self> {
        let narrow = Self::new(gpu, at, shape, images)?;
        narrow.fill(gpu)?;
        Ok(narrow)
    }

    /// The weights at `at`, with as many zeros behind as make the number of results a multiple of [`CHANNELS`].
    fn weights(gpu: &Gpu, at: Address, g: &ConvGeometry) -> Result<Self> {
        let shape = [g.out_channels, g.in_channels, g.taps()];
        Self::filled(gpu, at, shape, g.out_channels.next_multiple_of(CHANNELS))
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
fn run_bf16(
    gpu: &Gpu,
    direction: Direction,
    g: &ConvGeometry,
    arrays: Arrays,
    copies: Copies<'_>,
) -> Result<()> {
    let (i, o) = (g.in_channels, g.out_channels);
    let wide = ConvGeometry {
        in_channels: i.next_multiple_of(CHANNELS),
        out_channels: o.next_multiple_of(CHANNELS),
        ..*g
    };
    let ready = [None, copies.w, copies.y];
    let of = [
        (arrays.x, [g.batch, i, g.in_plane()], g.batch),
        (arrays.w, [o, i, g.taps()], wide.out_channels),
        (arrays.y, [g.batch, o, g.out_plane()], g.batch),
    ];
    let written = match direction {
        Direction::Input => 0,
        Direction::Weights => 1,
        Direction::Forward => 2,
    };
    let mut own = [None, None, None];
    for (place, (at, shape, images)) in of.into_iter().enumerate() {
        if place == written {
            own[place] = Some(Narrow::new(gpu, at, shape, images)?);
        } else if ready[place].is_none() {
            own[place] = Some(Narrow::filled(gpu, at, shape, images)?);
        }
    }
    let at = |place: usize| {
        let narrow = own[place].as_ref().or(ready[place]);
        narrow.map_or(Address::NONE, |narrow| gpu.at(&narrow.copy))
    };
    let copied = Arrays {
        x: at(0),
        w: at(1),
        y: at(2),
    };
    call(gpu, direction, &wide, Format::Bf16, copied)?;
    match &own[written] {
        Some(narrow) => narrow.bring_back(gpu),
        None => Ok(()),
    }
}
