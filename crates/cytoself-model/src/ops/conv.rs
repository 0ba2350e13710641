//! Convolution.

mod gemm;
mod im2col;
mod merged;
mod pointwise;
mod winograd;

use super::batch_norm::{Finish, FixedNorm};
use super::buffer::{Shared, output};
#[cfg(feature = "candle-cuda")]
use super::cuda;
use super::geometry::{ConvGeometry, Padding};
use super::simd::InstructionSet;
use super::tape::apply2;
#[cfg(feature = "candle-cuda")]
use super::tape::tracks;
use super::tensor::{gradient, slice, stored, with3};
#[cfg(feature = "candle-cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// How a convolution is computed.
///
/// The results differ by rounding only: Winograd's transforms lose about one more decimal digit than the matrix product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConvAlgorithm {
    /// The fastest for the shape.
    #[default]
    Auto,
    /// Winograd F(4x4, 3x3) where it applies (3x3, stride 1), else as [`ConvAlgorithm::Gemm`].
    Winograd,
    /// Patches and a matrix product, for comparisons at the level of rounding.
    Gemm,
}

/// Convolves `x` with `w`: `y[n, o, i, j] = sum over c, k, l of w[o, c, k, l] x[n, c, i s + k - top, j s + l - left]`, zeros outside.
///
/// # Shapes
/// `x: [n, c, h, w]`, `w: [o, c, k, l]`, `y` as [`ConvGeometry`]; all f32.
///
/// # Errors
/// * the tensors do not have four dimensions, or their channels differ;
/// * the kernel is larger than the padded map, or the stride is 0.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use cytoself_model::ops::{ConvAlgorithm, Padding, conv2d};
/// let x = Tensor::arange(0f32, 9., &Device::Cpu)?.reshape((1, 1, 3, 3))?;
/// let w = Tensor::ones((1, 1, 3, 3), candle_core::DType::F32, &Device::Cpu)?;
/// let y = conv2d(&x, &w, 1, Padding::uniform(1), ConvAlgorithm::Auto)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [8., 15., 12., 21., 36., 27., 20., 33., 24.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn conv2d(
    x: &Tensor,
    w: &Tensor,
    stride: usize,
    padding: Padding,
    algorithm: ConvAlgorithm,
) -> Result<Tensor> {
    let geometry = geometry(x, w, stride, padding)?;
    apply2(
        &x.contiguous()?,
        &w.contiguous()?,
        Conv {
            geometry,
            algorithm,
            #[cfg(feature = "candle-cuda")]
            kept: std::sync::OnceLock::new(),
        },
    )
}

/// As [`conv2d`], normalised with fixed statistics in the same pass, on the CPU and without gradients.
pub(crate) fn conv2d_normalized(
    x: &Tensor,
    w: &Tensor,
    (stride, padding): (usize, Padding),
    algorithm: ConvAlgorithm,
    norm: &FixedNorm,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let g = &geometry(x, w, stride, padding)?;
    let shape = (g.batch, g.out_channels, g.out_height(), g.out_width());
    if residual.is_some_and(|r| r.dims() != Shape::from(shape).dims()) {
        bail!("conv2d: the residual must have the shape {shape:?}");
    }
    let mut y = output(g.batch * g.out_channels * g.out_plane());
    with3(x, w, residual, |x, w, residual| {
        let finish = norm.with(residual);
        convolve(x, w, g, algorithm, Some(&finish), &mut y);
    })?;
    Tensor::from_vec(y, shape, x.device())
}

fn geometry(x: &Tensor, w: &Tensor, stride: usize, padding: Padding) -> Result<ConvGeometry> {
    let ((batch, in_channels, height, width), (out_channels, channels, kh, kw)) =
        (x.dims4()?, w.dims4()?);
    let geometry = ConvGeometry {
        batch,
        in_channels,
        out_channels,
        height,
        width,
        kernel: [kh, kw],
        stride,
        padding,
    };
    if channels != in_channels || !geometry.is_valid() {
        bail!(
            "conv2d: the weights {:?} with stride {stride} and {padding:?} do not fit the map {:?}",
            w.dims(),
            x.dims()
        );
    }
    Ok(geometry)
}

/// `y = conv(x, w)` on slices.
///
/// # Panics
/// If a slice is shorter than `geometry` says.
pub fn conv2d_forward(
    x: &[f32],
    w: &[f32],
    geometry: &ConvGeometry,
    algorithm: ConvAlgorithm,
    y: &mut [f32],
) {
    convolve(x, w, geometry, algorithm, None, y);
}

/// `y = finish(conv(x, w))`.
fn convolve(
    x: &[f32],
    w: &[f32],
    g: &ConvGeometry,
    algorithm: ConvAlgorithm,
    finish: Option<&Finish<'_>>,
    y: &mut [f32],
) {
    assert_lengths(g, x, w, y);
    assert!(
        finish.is_none_or(|f| f.fits(g.out_channels, y.len())),
        "channels of the normalisation"
    );
    match method(g, algorithm) {
        _ if y.is_empty() => {}
        _ if g.in_channels == 0 => {
            y.fill(0.0);
            finish_all(g, finish, y);
        }
        Method::Pointwise => pointwise::forward(x, w, g, finish, y),
        Method::Winograd => {
            winograd::forward(x, w, g, InstructionSet::detect(), y);
            finish_all(g, finish, y);
        }
        Method::Merged => merged::forward(x, w, g, finish, y),
        Method::Patches => gemm::forward(x, w, g, finish, y),
    }
}

/// Finishes maps that are all there.
fn finish_all(g: &ConvGeometry, finish: Option<&Finish<'_>>, y: &mut [f32]) {
    let Some(finish) = finish else { return };
    let (maps, plane) = (Shared::new(y), g.out_plane());
    (0..g.batch * g.out_channels)
        .into_par_iter()
        .for_each(|map| {
            let channel = map % g.out_channels;
            // SAFETY: one task per map.
            unsafe { finish.apply(maps, map * plane, plane, channel..channel + 1, plane) }
        });
}

/// The gradient of the input of [`conv2d_forward`], given `dy`, that of its output.
///
/// # Panics
/// If a slice is shorter than `geometry` says.
pub fn conv2d_input_gradient(
    dy: &[f32],
    w: &[f32],
    geometry: &ConvGeometry,
    algorithm: ConvAlgorithm,
    dx: &mut [f32],
) {
    let g = geometry;
    assert_lengths(g, dx, w, dy);
    if dx.is_empty() || g.out_channels == 0 {
        return dx.fill(0.0);
    }
    match method(g, algorithm) {
        Method::Pointwise => pointwise::input_gradient(dy, w, g, dx),
        Method::Winograd => winograd::input_gradient(dy, w, g, InstructionSet::detect(), dx),
        Method::Merged => merged::input_gradient(dy, w, g, dx),
        Method::Patches => gemm::input_gradient(dy, w, g, dx),
    }
}

/// The gradient of the weights of [`conv2d_forward`], given `dy`, that of its output.
///
/// # Panics
/// If a slice is shorter than `geometry` says.
pub fn conv2d_weight_gradient(
    x: &[f32],
    dy: &[f32],
    geometry: &ConvGeometry,
    algorithm: ConvAlgorithm,
    dw: &mut [f32],
) {
    let g = geometry;
    assert_lengths(g, x, dw, dy);
    if g.batch == 0 || dw.is_empty() {
        return dw.fill(0.0);
    }
    match method(g, algorithm) {
        Method::Pointwise if merged::pays_for_weights(g) => merged::weight_gradient(x, dy, g, dw),
        Method::Pointwise => pointwise::weight_gradient(x, dy, g, dw),
        Method::Winograd => winograd::weight_gradient(x, dy, g, InstructionSet::detect(), dw),
        Method::Merged => merged::weight_gradient(x, dy, g, dw),
        Method::Patches => gemm::weight_gradient(x, dy, g, dw),
    }
}

/// The code that computes a shape.
enum Method {
    Pointwise,
    Winograd,
    Merged,
    Patches,
}

fn method(g: &ConvGeometry, algorithm: ConvAlgorithm) -> Method {
    if g.is_pointwise() {
        return Method::Pointwise;
    }
    let winograd = match algorithm {
        ConvAlgorithm::Auto => winograd::pays(g),
        ConvAlgorithm::Winograd => winograd::applies(g),
        ConvAlgorithm::Gemm => false,
    };
    match winograd {
        true => Method::Winograd,
        false if merged::pays(g) => Method::Merged,
        false => Method::Patches,
    }
}

/// The kernels write through pointers: no slice may be shorter than the shape.
fn assert_lengths(g: &ConvGeometry, x: &[f32], w: &[f32], y: &[f32]) {
    assert!(g.is_valid(), "the kernel must fit the padded map");
    assert_eq!(x.len(), g.batch * g.in_channels * g.in_plane(), "input");
    assert_eq!(
        w.len(),
        g.out_channels * g.in_channels * g.taps(),
        "weights"
    );
    assert_eq!(y.len(), g.batch * g.out_channels * g.out_plane(), "output");
}

struct Conv {
    geometry: ConvGeometry,
    algorithm: ConvAlgorithm,
    /// What the forward pass leaves to the backward pass.
    #[cfg(feature = "candle-cuda")]
    kept: std::sync::OnceLock<cuda::conv::Kept>,
}

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let g = &self.geometry;
        let shape = (g.batch, g.out_channels, g.out_height(), g.out_width());
        let mut y = output(g.batch * g.out_channels * g.out_plane());
        conv2d_forward(slice(x, xl)?, slice(w, wl)?, g, self.algorithm, &mut y);
        stored(y, shape)
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        w: &CudaStorage,
        wl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::conv::forward(&self.geometry, x, xl, w, wl, &self.kept)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (g, algorithm) = (&self.geometry, self.algorithm);
        #[cfg(feature = "candle-cuda")]
        if x.device().is_cuda() {
            let wanted = [tracks(x), tracks(w)];
            return cuda::conv::gradients(g, [x, w, dy], wanted, &self.kept);
        }
        let dx = gradient(x, dy, w, |dy, w, dx| {
            conv2d_input_gradient(dy, w, g, algorithm, dx)
        })?;
        let dw = gradient(w, x, dy, |x, dy, dw| {
            conv2d_weight_gradient(x, dy, g, algorithm, dw)
        })?;
        Ok((dx, dw))
    }
}
