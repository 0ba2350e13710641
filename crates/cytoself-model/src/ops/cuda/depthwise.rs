//! Depthwise convolution.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};

use super::elementwise::sum_chunks;
use super::{Address, Gpu, every, u32_of};
use crate::ops::{ConvGeometry, Padding};

/// Names of a kernel for 3x3 and 5x5 at stride 1 and 2, and for any other.
type Names = [&'static str; 5];

const FORWARD: Names = [
    "depthwise_k3s1",
    "depthwise_k3s2",
    "depthwise_k5s1",
    "depthwise_k5s2",
    "depthwise_any",
];
const WEIGHTS: Names = [
    "depthwise_dw_k3s1",
    "depthwise_dw_k3s2",
    "depthwise_dw_k5s1",
    "depthwise_dw_k5s2",
    "depthwise_dw_any",
];

fn choose(names: Names, g: &ConvGeometry) -> &'static str {
    match (g.kernel, g.stride) {
        ([3, 3], 1) => names[0],
        ([3, 3], 2) => names[1],
        ([5, 5], 1) => names[2],
        ([5, 5], 2) => names[3],
        _ => names[4],
    }
}

pub(crate) fn forward(
    g: &ConvGeometry,
    x: &CudaStorage,
    xl: &Layout,
    w: &CudaStorage,
    wl: &Layout,
) -> Result<(CudaStorage, Shape)> {
    let gpu = &Gpu::of(x.device())?;
    let (x, w) = (gpu.argument(x, xl)?, gpu.argument(w, wl)?);
    let y = gpu.buffer(g.batch * g.out_channels * g.out_plane())?;
    let padding = [g.padding.top as i32, g.padding.left as i32];
    convolve(gpu, g, x, w, gpu.at(&y), padding, false)?;
    gpu.stored(y, (g.batch, g.out_channels, g.out_height(), g.out_width()))
}

/// `y = conv(x, w)` at any stride; `flip` turns the kernels by 180 degrees.
fn convolve(
    gpu: &Gpu,
    g: &ConvGeometry,
    x: Address,
    w: Address,
    y: Address,
    [top, left]: [i32; 2],
    flip: bool,
) -> Result<()> {
    let planes = g.batch * g.in_channels;
    if planes * g.out_plane() == 0 {
        return Ok(());
    }
    let [kh, kw] = g.kernel;
    launch!(
        gpu,
        choose(FORWARD, g),
        every(planes * g.out_plane()),
        [
            x,
            w,
            y,
            u32_of(planes)?,
            u32::from(flip),
            u32_of(g.in_channels)?,
            u32_of(g.height)?,
            u32_of(g.width)?,
            u32_of(g.out_height())?,
            u32_of(g.out_width())?,
            u32_of(kh)?,
            u32_of(kw)?,
            u32_of(g.stride)?,
            top,
            left
        ]
    );
    Ok(())
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
    let (weights, from, to) = (gpu.values(&w)?, gpu.values(&dy)?, gpu.at(&dx));
    let [kh, kw] = g.kernel;
    let Padding { top, left, .. } = g.padding;
    if g.stride == 1 {
        let back = backward_geometry(g);
        let padding = [kh as i32 - 1 - top as i32, kw as i32 - 1 - left as i32];
        convolve(gpu, &back, from, weights, to, padding, true)?;
    } else if x.elem_count() > 0 {
        let name = match (g.kernel, g.stride) {
            ([3, 3], 2) => "depthwise_dx_k3s2",
            ([5, 5], 2) => "depthwise_dx_k5s2",
            _ => "depthwise_dx_any",
        };
        launch!(
            gpu,
            name,
            every(x.elem_count()),
            [
                from,
                weights,
                to,
                u32_of(g.batch * g.in_channels)?,
                u32_of(g.in_channels)?,
                u32_of(g.height)?,
                u32_of(g.width)?,
                u32_of(g.out_height())?,
                u32_of(g.out_width())?,
                u32_of(kh)?,
                u32_of(kw)?,
                u32_of(g.stride)?,
                top as i32,
                left as i32
            ]
        );
    }
    Ok(gpu.tensor(dx, x.shape()))
}

/// The convolution at stride 1 that takes the gradient of the output to that of the input: its maps are exchanged. Its padding may be
/// negative, so it is given apart; the one here makes the sizes come out.
fn backward_geometry(g: &ConvGeometry) -> ConvGeometry {
    let [kh, kw] = g.kernel;
    ConvGeometry {
        height: g.out_height(),
        width: g.out_width(),
        padding: Padding {
            top: g.height + kh - 1 - g.out_height(),
            bottom: 0,
            left: g.width + kw - 1 - g.out_width(),
            right: 0,
        },
        ..*g
    }
}

pub(crate) fn weight_gradient(
    g: &ConvGeometry,
    x: &Tensor,
    w: &Tensor,
    dy: &Tensor,
) -> Result<Tensor> {
    let gpu = &Gpu::holding(x)?;
    let (c, taps) = (g.in_channels, g.taps());
    if x.elem_count() * dy.elem_count() == 0 {
        return Ok(gpu.tensor(gpu.zeros(c * taps)?, w.shape()));
    }
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let chunks = (4096 / c.max(1)).clamp(1, g.batch);
    let (partial, dw) = (gpu.buffer::<f64>(c * chunks * taps)?, gpu.buffer(c * taps)?);
    let [kh, kw] = g.kernel;
    launch!(
        gpu,
        choose(WEIGHTS, g),
        [c * chunks, 1],
        [
            gpu.values(&x)?,
            gpu.values(&dy)?,
            gpu.at(&partial),
            u32_of(g.batch)?,
            u32_of(chunks)?,
            u32_of(c)?,
            u32_of(g.height)?,
            u32_of(g.width)?,
            u32_of(g.out_height())?,
            u32_of(g.out_width())?,
            u32_of(kh)?,
            u32_of(kw)?,
            u32_of(g.stride)?,
            g.padding.top as i32,
            g.padding.left as i32
        ]
    );
    sum_chunks(gpu, gpu.at(&partial), [c, chunks, taps], gpu.at(&dw))?;
    Ok(gpu.tensor(dw, w.shape()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_has_the_sizes_of_the_way_there() {
        let there = ConvGeometry {
            batch: 1,
            in_channels: 3,
            out_channels: 3,
            height: 13,
            width: 11,
            kernel: [5, 3],
            stride: 1,
            padding: Padding {
                top: 2,
                bottom: 0,
                left: 0,
                right: 1,
            },
        };
        let back = backward_geometry(&there);
        assert_eq!((back.out_height(), back.out_width()), (13, 11));
    }
}
