//! Dense layers.

use super::buffer::{Shared, output};
#[cfg(feature = "candle-cuda")]
use super::cuda;
use super::matrix::{View, multiply};
use super::simd::{InstructionSet, kernel, load_up_to};
use super::tape::{apply2, apply3};
use super::tensor::{gradient, like, slice, stored, with};
#[cfg(feature = "candle-cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of the weights per task.
const BLOCK: usize = 32;

/// Columns of the weights per task.
const COLUMNS: usize = 512;

/// The sizes `[rows, inputs, outputs]` of a dense layer.
pub type LinearShape = [usize; 3];

/// Inputs whose products are summed before the next: two rows of weights and four of inputs stay in the first-level cache.
const INPUTS: usize = 1024;

/// Rows that share a pass over the weights.
const ROWS: usize = 4;

kernel! {
    /// `y[r][o] += sum over i < n of x[r][i] w[o][i]` for up to four rows `x` and two rows `w`; the sum's order does not depend on
    /// how many rows there are.
    unsafe fn dots<L>(x: &[*const f32; ROWS], w: &[*const f32; 2], n: usize, sums: &mut [[f32; 2]; ROWS]) {
        let mut acc = [[L::zero(); 2]; ROWS];
        let mut i = 0;
        while i < n {
            let m = (n - i).min(L::N);
            let (a, b) = (load_up_to::<L>(w[0].add(i), m), load_up_to::<L>(w[1].add(i), m));
            let mut r = 0;
            while r < ROWS {
                let v = load_up_to::<L>(x[r].add(i), m);
                acc[r][0] = L::fma(v, a, acc[r][0]);
                acc[r][1] = L::fma(v, b, acc[r][1]);
                r += 1;
            }
            i += L::N;
        }
        for r in 0..ROWS {
            for o in 0..2 {
                sums[r][o] = L::sum(acc[r][o]);
            }
        }
    }
}

/// `y = x w^T + b` with `x: [rows, inputs]`, `w: [outputs, inputs]`, `b: [outputs]`; a row of `y` has the same bits whatever rows
/// are beside it.
///
/// # Panics
/// If a slice does not have the length of `shape`.
pub fn linear_forward(x: &[f32], w: &[f32], b: Option<&[f32]>, shape: LinearShape, y: &mut [f32]) {
    let [rows, inputs, outputs] = shape;
    assert_lengths(x, w, y, shape);
    assert!(b.is_none_or(|b| b.len() == outputs), "a bias per output");
    let out = Shared::new(y);
    (0..outputs.div_ceil(BLOCK))
        .into_par_iter()
        .for_each(|block| {
            let range = block * BLOCK..((block + 1) * BLOCK).min(outputs);
            for row in 0..rows {
                // SAFETY: the task owns these columns of y.
                let y = unsafe { out.region(row * outputs + range.start, range.len()) };
                match b {
                    Some(b) => y.copy_from_slice(&b[range.clone()]),
                    None => y.fill(0.0),
                }
            }
            for from in (0..inputs).step_by(INPUTS) {
                add_products(x, w, shape, range.clone(), from, out);
            }
        });
}

/// Adds the products of the inputs from `from` on, [`INPUTS`] at most, to the outputs `range`, which belong to the caller.
fn add_products(
    x: &[f32],
    w: &[f32],
    [rows, inputs, outputs]: LinearShape,
    range: Range<usize>,
    from: usize,
    out: Shared,
) {
    let (isa, n) = (InstructionSet::detect(), INPUTS.min(inputs - from));
    for first in range.clone().step_by(2) {
        // Past the end the last row stands in, and its sum is not stored.
        let weights =
            std::array::from_fn(|o| w[(first + o).min(range.end - 1) * inputs + from..].as_ptr());
        for row in (0..rows).step_by(ROWS) {
            let values =
                std::array::from_fn(|r| x[(row + r).min(rows - 1) * inputs + from..].as_ptr());
            let mut sums = [[0.0; 2]; ROWS];
            // SAFETY: all rows have `n` values from `from`.
            unsafe { dots(isa, &values, &weights, n, &mut sums) };
            for (r, o) in (row..rows.min(row + ROWS))
                .flat_map(|r| (first..range.end.min(first + 2)).map(move |o| (r, o)))
            {
                // SAFETY: column `o` belongs to the caller.
                unsafe { *out.at(r * outputs + o) += sums[r - row][o - first] };
            }
        }
    }
}

/// The gradient of the input: `dx = dy w`.
///
/// # Panics
/// If a slice does not have the length of `shape`.
pub fn linear_input_gradient(dy: &[f32], w: &[f32], shape: LinearShape, dx: &mut [f32]) {
    let [rows, inputs, outputs] = shape;
    assert_lengths(dx, w, dy, shape);
    let out = Shared::new(dx);
    (0..inputs.div_ceil(COLUMNS))
        .into_par_iter()
        .for_each(|block| {
            let first = block * COLUMNS;
            let n = COLUMNS.min(inputs - first);
            let (a, b) = (
                View::row_major(dy.as_ptr(), outputs),
                View::row_major(w[first.min(w.len())..].as_ptr(), inputs),
            );
            // SAFETY: the task owns these columns of dx; the shapes are those of the slices.
            unsafe { multiply([rows, n, outputs], out.at(first), inputs, false, a, b) };
        });
}

/// The gradient of the weights: `dw = dy^T x`.
///
/// # Panics
/// If a slice does not have the length of `shape`.
pub fn linear_weight_gradient(x: &[f32], dy: &[f32], shape: LinearShape, dw: &mut [f32]) {
    let [rows, inputs, outputs] = shape;
    assert_lengths(x, dw, dy, shape);
    if inputs == 0 {
        return;
    }
    dw.par_chunks_mut(BLOCK * inputs)
        .enumerate()
        .for_each(|(block, dw)| {
            let n = dw.len() / inputs;
            let (a, b) = (
                View::transposed(dy[(block * BLOCK).min(dy.len())..].as_ptr(), outputs),
                View::row_major(x.as_ptr(), inputs),
            );
            // SAFETY: the task owns its chunk of dw; the shapes are those of the slices.
            unsafe { multiply([n, inputs, rows], dw.as_mut_ptr(), inputs, false, a, b) };
        });
}

fn assert_lengths(x: &[f32], w: &[f32], y: &[f32], [rows, inputs, outputs]: LinearShape) {
    assert!(
        x.len() == rows * inputs && w.len() == outputs * inputs && y.len() == rows * outputs,
        "a dense layer's shape"
    );
}

/// `x w^T + b`, PyTorch's layout.
///
/// # Shapes
/// `x: [n, in]`, `w: [out, in]`, `b: [out]` -> `[n, out]`.
///
/// # Errors
/// * the shapes do not fit.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// let (x, w) = (Tensor::new(&[[1f32, 2.]], &Device::Cpu)?, Tensor::new(&[[3f32, 4.]], &Device::Cpu)?);
/// let y = cytoself_model::ops::linear(&x, &w, Some(&Tensor::new(&[0.5f32], &Device::Cpu)?))?;
/// assert_eq!(y.to_vec2::<f32>()?, [[11.5]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor> {
    let ((rows, inputs), (outputs, inputs2)) = (x.dims2()?, w.dims2()?);
    if inputs != inputs2 || b.is_some_and(|b| b.dims() != [outputs]) {
        bail!(
            "linear: the weights {:?} and bias {:?} do not fit the input {:?}",
            w.dims(),
            b.map(Tensor::dims),
            x.dims()
        );
    }
    let op = Linear {
        shape: [rows, inputs, outputs],
    };
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    match b {
        Some(b) => apply3(&x, &w, &b.contiguous()?, op),
        None => apply2(&x, &w, op),
    }
}

struct Linear {
    shape: LinearShape,
}

impl Linear {
    fn forward(&self, x: &[f32], w: &[f32], b: Option<&[f32]>) -> Result<(CpuStorage, Shape)> {
        let [rows, _, outputs] = self.shape;
        let mut y = output(rows * outputs);
        linear_forward(x, w, b, self.shape, &mut y);
        stored(y, (rows, outputs))
    }

    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let shape = self.shape;
        #[cfg(feature = "candle-cuda")]
        if x.device().is_cuda() {
            let dx = super::tape::tracks(x).then(|| cuda::linear::input_gradient(shape, x, w, dy));
            let dw = super::tape::tracks(w).then(|| cuda::linear::weight_gradient(shape, x, w, dy));
            return Ok((dx.transpose()?, dw.transpose()?));
        }
        let dx = gradient(x, dy, w, |dy, w, dx| {
            linear_input_gradient(dy, w, shape, dx)
        })?;
        let dw = gradient(w, x, dy, |x, dy, dw| {
            linear_weight_gradient(x, dy, shape, dw)
        })?;
        Ok((dx, dw))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(slice(x, xl)?, slice(w, wl)?, None)
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        w: &CudaStorage,
        wl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::linear::forward(self.shape, (x, xl), (w, wl), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, w, dy)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    #[rustfmt::skip] // the trait's flat list of six
    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(slice(x, xl)?, slice(w, wl)?, Some(slice(b, bl)?))
    }

    #[cfg(feature = "candle-cuda")]
    #[rustfmt::skip] // as above
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, w: &CudaStorage, wl: &Layout, b: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::linear::forward(self.shape, (x, xl), (w, wl), Some((b, bl)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.backward(x, w, dy)?;
        #[cfg(feature = "candle-cuda")]
        if x.device().is_cuda() {
            return Ok((dx, dw, Some(cuda::linear::bias_gradient(dy)?)));
        }
        let db = with(dy, |dy| {
            let mut db = vec![0.0; self.shape[2]];
            for row in dy.chunks_exact(self.shape[2].max(1)) {
                db.iter_mut().zip(row).for_each(|(s, d)| *s += d);
            }
            db
        })?;
        Ok((dx, dw, Some(like(db, b)?)))
    }
}
