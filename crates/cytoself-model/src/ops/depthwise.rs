//! Depthwise convolution: every channel with its own kernel.

mod lanes;
mod taps;

use super::buffer::output;
#[cfg(feature = "candle-cuda")]
use super::cuda;
use super::geometry::{ConvGeometry, Padding};
use super::simd::InstructionSet;
use super::tape::apply2;
#[cfg(feature = "candle-cuda")]
use super::tape::tracks;
use super::tensor::{gradient, slice, stored};
#[cfg(feature = "candle-cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// Convolves every channel of `x` with its own kernel.
///
/// # Shapes
/// `x: [n, c, h, w]`, `w: [c, 1, k, l]`, `y` as [`ConvGeometry`]; all f32.
///
/// # Errors
/// * the tensors do not have four dimensions, or their channels differ;
/// * the kernel is larger than the padded map, or the stride is 0.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use cytoself_model::ops::{Padding, depthwise_conv2d};
/// let x = Tensor::arange(0f32, 8., &Device::Cpu)?.reshape((1, 2, 2, 2))?;
/// let w = Tensor::new(&[1f32, 10.], &Device::Cpu)?.reshape((2, 1, 1, 1))?;
/// let y = depthwise_conv2d(&x, &w, 1, Padding::NONE)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [0., 1., 2., 3., 40., 50., 60., 70.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn depthwise_conv2d(x: &Tensor, w: &Tensor, stride: usize, padding: Padding) -> Result<Tensor> {
    let geometry = geometry(x, w, stride, padding)?;
    apply2(&x.contiguous()?, &w.contiguous()?, Depthwise { geometry })
}

fn geometry(x: &Tensor, w: &Tensor, stride: usize, padding: Padding) -> Result<ConvGeometry> {
    let ((batch, channels, height, width), (out_channels, one, kh, kw)) = (x.dims4()?, w.dims4()?);
    let geometry = ConvGeometry {
        batch,
        in_channels: channels,
        out_channels,
        height,
        width,
        kernel: [kh, kw],
        stride,
        padding,
    };
    if out_channels != channels || one != 1 || !geometry.is_valid() {
        bail!(
            "depthwise_conv2d: the weights {:?} with stride {stride} and {padding:?} do not fit the map {:?}",
            w.dims(),
            x.dims()
        );
    }
    Ok(geometry)
}

/// `y = conv(x, w)` on slices, channel by channel.
///
/// # Panics
/// If a slice does not have the length that `geometry` says.
pub fn depthwise_forward(
    x: &[f32],
    w: &[f32],
    geometry: &ConvGeometry,
    isa: InstructionSet,
    y: &mut [f32],
) {
    assert_lengths(geometry, x, w, y);
    lanes::forward(x, w, geometry, isa, y);
}

/// The gradient of the input of [`depthwise_forward`].
///
/// # Panics
/// If a slice does not have the length that `geometry` says.
pub fn depthwise_input_gradient(
    dy: &[f32],
    w: &[f32],
    geometry: &ConvGeometry,
    isa: InstructionSet,
    dx: &mut [f32],
) {
    assert_lengths(geometry, dx, w, dy);
    lanes::input_gradient(dy, w, geometry, isa, dx);
}

/// The gradient of the weights of [`depthwise_forward`].
///
/// # Panics
/// If a slice does not have the length that `geometry` says.
pub fn depthwise_weight_gradient(
    x: &[f32],
    dy: &[f32],
    geometry: &ConvGeometry,
    isa: InstructionSet,
    dw: &mut [f32],
) {
    assert_lengths(geometry, x, dw, dy);
    lanes::weight_gradient(x, dy, geometry, isa, dw);
}

fn assert_lengths(g: &ConvGeometry, x: &[f32], w: &[f32], y: &[f32]) {
    assert!(
        g.is_valid() && g.in_channels == g.out_channels,
        "a depthwise geometry"
    );
    assert_eq!(x.len(), g.batch * g.in_channels * g.in_plane(), "input");
    assert_eq!(w.len(), g.in_channels * g.taps(), "weights");
    assert_eq!(y.len(), g.batch * g.in_channels * g.out_plane(), "output");
}

struct Depthwise {
    geometry: ConvGeometry,
}

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise_conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let g = &self.geometry;
        let mut y = output(g.batch * g.out_channels * g.out_plane());
        depthwise_forward(
            slice(x, xl)?,
            slice(w, wl)?,
            g,
            InstructionSet::detect(),
            &mut y,
        );
        stored(y, (g.batch, g.out_channels, g.out_height(), g.out_width()))
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        w: &CudaStorage,
        wl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::depthwise::forward(&self.geometry, x, xl, w, wl)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (g, isa) = (&self.geometry, InstructionSet::detect());
        #[cfg(feature = "candle-cuda")]
        if x.device().is_cuda() {
            let dx = tracks(x).then(|| cuda::depthwise::input_gradient(g, x, w, dy));
            let dw = tracks(w).then(|| cuda::depthwise::weight_gradient(g, x, w, dy));
            return Ok((dx.transpose()?, dw.transpose()?));
        }
        let dx = gradient(x, dy, w, |dy, w, dx| {
            depthwise_input_gradient(dy, w, g, isa, dx)
        })?;
        let dw = gradient(w, x, dy, |x, dy, dw| {
            depthwise_weight_gradient(x, dy, g, isa, dw)
        })?;
        Ok((dx, dw))
    }
}
