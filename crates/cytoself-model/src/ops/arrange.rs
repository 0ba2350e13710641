//! Values in another order or shape, on the tape or in candle's graph.

use candle_core::{Result, Shape, Tensor};

#[cfg(feature = "candle-cuda")]
use super::cuda;
use super::tape::{push, rearranged};

/// `x` in another shape.
///
/// # Errors
/// - the shapes hold different numbers of values.
pub(crate) fn reshape(x: &Tensor, shape: impl Into<Shape>) -> Result<Tensor> {
    let before = x.shape().clone();
    let y = x.reshape(shape.into())?;
    Ok(rearranged(x, y, move |g| g.reshape(before)))
}

/// `x` with two dimensions exchanged, contiguous.
///
/// # Errors
/// - there is no such dimension.
pub(crate) fn exchange(x: &Tensor, a: usize, b: usize) -> Result<Tensor> {
    #[cfg(feature = "candle-cuda")]
    if let Some(y) = turned(x, a, b)? {
        return Ok(rearranged(x, y, move |g| exchange_alone(g, a, b)));
    }
    let y = x.transpose(a, b)?.contiguous()?;
    Ok(rearranged(x, y, move |g| g.transpose(a, b)?.contiguous()))
}

/// As [`exchange`], leaving no trace.
#[cfg(feature = "candle-cuda")]
fn exchange_alone(x: &Tensor, a: usize, b: usize) -> Result<Tensor> {
    match turned(x, a, b)? {
        Some(y) => Ok(y),
        None => x.transpose(a, b)?.contiguous(),
    }
}

/// The last two of three dimensions exchanged by our kernel, where that is what is asked for and candle's graph, which could not see
/// it, is not in use.
#[cfg(feature = "candle-cuda")]
fn turned(x: &Tensor, a: usize, b: usize) -> Result<Option<Tensor>> {
    let ours = x.device().is_cuda() && x.rank() == 3 && a.min(b) == 1 && a.max(b) == 2;
    if !ours || x.track_op() && !super::tape::on_tape() {
        return Ok(None);
    }
    let (n, rows, columns) = x.dims3()?;
    cuda::arrange::transpose(x, [n, rows, columns], (n, columns, rows)).map(Some)
}

/// `[n, c, h, w]` -> `[n, h, w, c]`, contiguous.
///
/// # Errors
/// - `x` does not have four dimensions.
pub(crate) fn channels_last(x: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "candle-cuda")]
    if x.device().is_cuda() && (super::tape::on_tape() || !x.track_op()) {
        let (n, c, h, w) = x.dims4()?;
        let y = cuda::arrange::transpose(x, [n, c, h * w], (n, h, w, c))?;
        return Ok(rearranged(x, y, move |g| {
            cuda::arrange::transpose(g, [n, h * w, c], (n, c, h, w))
        }));
    }
    let y = x.permute((0, 2, 3, 1))?.contiguous()?;
    Ok(rearranged(x, y, |g| g.permute((0, 3, 1, 2))?.contiguous()))
}

/// `x * factor`.
///
/// # Errors
/// - candle cannot compute it.
pub(crate) fn scale(x: &Tensor, factor: f64) -> Result<Tensor> {
    Ok(rearranged(x, (x * factor)?, move |g| g * factor))
}

/// The values of all tensors in a row.
///
/// # Errors
/// - the tensors have different data types.
pub(crate) fn join(parts: &[&Tensor]) -> Result<Tensor> {
    let flat: Vec<Tensor> = parts
        .iter()
        .map(|p| p.flatten_all())
        .collect::<Result<_>>()?;
    let mut joined = Tensor::cat(&flat, 0)?;
    if super::tape::on_tape() {
        joined = joined.detach();
        let shapes: Vec<Shape> = parts.iter().map(|p| p.shape().clone()).collect();
        push(parts, &[&joined], move |gradients| {
            let mut start = 0;
            let of_part = |shape: Shape| {
                let from = start;
                start += shape.elem_count();
                let part = |g: &Tensor| g.narrow(0, from, shape.elem_count())?.reshape(&shape);
                gradients[0].as_ref().map(part).transpose()
            };
            shapes.into_iter().map(of_part).collect()
        });
    }
    Ok(joined)
}
