//! Values in another order or shape, on the tape or in candle's graph.

use candle_core::{Result, Shape, Tensor};

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
    let y = x.transpose(a, b)?.contiguous()?;
    Ok(rearranged(x, y, move |g| g.transpose(a, b)?.contiguous()))
}

/// `[n, c, h, w]` -> `[n, h, w, c]`, contiguous.
///
/// # Errors
/// - `x` does not have four dimensions.
pub(crate) fn channels_last(x: &Tensor) -> Result<Tensor> {
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
