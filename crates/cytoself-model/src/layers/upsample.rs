//! Bringing the global map to the fine map's size.

use candle_core::Tensor;

use crate::ModelError;
use crate::config::Upsampling;
use crate::ops;

/// Resizes `x` `[n, c, h, w]` to `size`.
pub(crate) fn upsample(
    x: &Tensor,
    size: [usize; 2],
    rule: Upsampling,
) -> Result<Tensor, ModelError> {
    match rule {
        Upsampling::Nearest => Ok(ops::resize_nearest(x, size[0], size[1])?),
        Upsampling::Bilinear => Ok(ops::resize_bilinear(x, size[0], size[1])?),
        Upsampling::BilinearLegacy => legacy(x, size),
    }
}

/// Bilinear on the grid `i * in / out`, as a product with an interpolation matrix along each axis: the maps are so small
/// (4x4) that a kernel of its own would gain nothing.
fn legacy(x: &Tensor, [h, w]: [usize; 2]) -> Result<Tensor, ModelError> {
    let (n, c, h0, w0) = x.dims4()?;
    let wide = ops::linear(
        &ops::reshape(x, (n * c * h0, w0))?,
        &interpolation(w0, w, x)?,
        None,
    )?;
    let turned = ops::exchange(&ops::reshape(&wide, (n * c, h0, w))?, 1, 2)?;
    let turned = ops::reshape(&turned, (n * c * w, h0))?;
    let high = ops::linear(&turned, &interpolation(h0, h, x)?, None)?;
    let upright = ops::exchange(&ops::reshape(&high, (n * c, w, h))?, 1, 2)?;
    Ok(ops::reshape(&upright, (n, c, h, w))?)
}

/// `[out, in]`: weights of the inputs for each output.
fn interpolation(from: usize, to: usize, like: &Tensor) -> Result<Tensor, ModelError> {
    let mut weights = vec![0.0_f32; to * from];
    for (i, row) in weights.chunks_exact_mut(from).enumerate() {
        let position = i as f64 * from as f64 / to as f64;
        let low = (position as usize).min(from - 1);
        let high = (low + 1).min(from - 1);
        let fraction = (position - low as f64) as f32;
        row[low] += 1.0 - fraction;
        row[high] += fraction;
    }
    Ok(Tensor::from_vec(weights, (to, from), like.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_legacy_grid_starts_at_the_first_pixel_and_repeats_the_last() {
        let x = Tensor::new(&[[[[0.0_f32, 4.0], [8.0, 12.0]]]], &Device::Cpu).unwrap();
        let y = upsample(&x, [4, 4], Upsampling::BilinearLegacy).unwrap();
        let rows: Vec<Vec<f32>> = y.squeeze(0).unwrap().squeeze(0).unwrap().to_vec2().unwrap();
        assert_eq!(rows[0], [0.0, 2.0, 4.0, 4.0]);
        assert_eq!(rows[1], [4.0, 6.0, 8.0, 8.0]);
        assert_eq!(rows[3], [8.0, 10.0, 12.0, 12.0]);
    }
}
