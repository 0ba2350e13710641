//! Gaussian blur as two one-dimensional passes.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::weighted_rows::weighted_rows;

/// The kernel is cut at this many standard deviations, as in SciPy.
const TRUNCATE: f64 = 4.0;
/// Rows per parallel task; fixed, so that the work is cut alike at any thread count.
const ROWS_PER_TASK: usize = 32;
/// Columns that are blurred together along the columns: as many rows of them as a kernel needs stay in the first cache.
const STRIP: usize = 64;

/// Gaussian blur with standard deviation `sigma`; outside the image the nearest edge pixel goes on.
///
/// The kernel is cut at four standard deviations (rounded to the nearest pixel) and sums to one.
/// A `sigma` of zero (or below) returns the image unchanged.
///
/// **Shapes** `image: [h, w]` -> `[h, w]`. **Units** `sigma` in pixels; values keep their unit.
///
/// # Example
/// ```
/// use cytoself_segment::gaussian;
/// use ndarray::{Array2, array};
///
/// let mut point = Array2::zeros((5, 5));
/// point[[2, 2]] = 1.0;
/// let blurred = gaussian(point.view(), 0.4);
/// assert!((blurred[[2, 2]] - 0.8450).abs() < 1e-4);
/// assert!((blurred.sum() - 1.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn gaussian(image: ArrayView2<'_, f64>, sigma: f64) -> Array2<f64> {
    let weights = half_kernel(sigma);
    if weights.len() == 1 || image.is_empty() {
        return image.to_owned();
    }
    let image = image.as_standard_layout();
    let (height, width) = image.dim();
    let source = image.as_slice().unwrap_or_default();
    let mut out = Array2::zeros((height, width));
    out.as_slice_mut()
        .unwrap_or_default()
        .par_chunks_mut(ROWS_PER_TASK * width)
        .enumerate()
        .for_each(|(task, rows)| {
            let mut lines = vec![0.0; rows.len()];
            let first = task * ROWS_PER_TASK;
            for left in (0..width).step_by(STRIP) {
                let strip = left..(left + STRIP).min(width);
                for (i, line) in lines.chunks_mut(width).enumerate() {
                    blur_column_direction(source, first + i, width, strip.clone(), &weights, line);
                }
            }
            for (line, out) in lines.chunks(width).zip(rows.chunks_mut(width)) {
                blur_row_direction(line, &weights, out);
            }
        });
    out
}

/// A part of one row of the blur along the columns.
fn blur_column_direction(
    source: &[f64],
    y: usize,
    width: usize,
    strip: Range<usize>,
    weights: &[f64],
    out: &mut [f64],
) {
    let last = source.len() / width - 1;
    let row = |y: usize| &source[y * width..][strip.clone()];
    let pairs: Vec<_> = (1..weights.len())
        .map(|k| (row(y.saturating_sub(k)), row((y + k).min(last))))
        .collect();
    weighted_rows(&mut out[strip.clone()], row(y), &pairs, weights);
}

/// The blur of one row along itself.
fn blur_row_direction(line: &[f64], weights: &[f64], out: &mut [f64]) {
    let radius = weights.len() - 1;
    let mut padded = vec![line[0]; line.len() + 2 * radius];
    padded[radius..radius + line.len()].copy_from_slice(line);
    padded[radius + line.len()..].fill(line[line.len() - 1]);
    let pairs: Vec<_> = (1..=radius)
        .map(|k| (&padded[radius - k..], &padded[radius + k..]))
        .collect();
    weighted_rows(out, &padded[radius..], &pairs, weights);
}

/// The kernel from its centre outwards.
fn half_kernel(sigma: f64) -> Vec<f64> {
    if sigma <= 0.0 || !sigma.is_finite() {
        return vec![1.0];
    }
    let radius = (TRUNCATE * sigma + 0.5) as usize;
    let values: Vec<f64> = (0..=radius)
        .map(|k| (-0.5 * (k as f64 / sigma).powi(2)).exp())
        .collect();
    let sum = values[0] + 2.0 * values[1..].iter().sum::<f64>();
    values.iter().map(|v| v / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, one pixel at a time.
    fn reference(image: &Array2<f64>, sigma: f64) -> Array2<f64> {
        let weights = half_kernel(sigma);
        let radius = weights.len() as isize - 1;
        let (h, w) = image.dim();
        let clamp = |v: isize, n: usize| v.clamp(0, n as isize - 1) as usize;
        Array2::from_shape_fn((h, w), |(y, x)| {
            let mut sum = 0.0;
            for dy in -radius..=radius {
                for dx in -radius..=radius {
                    let pixel = image[[clamp(y as isize + dy, h), clamp(x as isize + dx, w)]];
                    sum += weights[dy.unsigned_abs()] * weights[dx.unsigned_abs()] * pixel;
                }
            }
            sum
        })
    }

    #[test]
    fn equals_the_definition_also_where_the_kernel_exceeds_the_image() {
        for (h, w, sigma) in [(7, 45, 1.3), (3, 5, 2.5), (1, 1, 4.0), (40, 17, 0.8)] {
            let image = Array2::from_shape_fn((h, w), |(y, x)| ((y * 31 + x * 17) % 23) as f64);
            let (fast, slow) = (gaussian(image.view(), sigma), reference(&image, sigma));
            assert!(
                (&fast - &slow).iter().all(|d| d.abs() < 1e-10),
                "{h} x {w}, sigma {sigma}"
            );
        }
    }

    #[test]
    fn same_bits_at_any_thread_count_and_layout() {
        let image = Array2::from_shape_fn((130, 70), |(y, x)| ((y * 7 + x * 13) % 101) as f64);
        let run = |n| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n)
                .build()
                .unwrap();
            pool.install(|| gaussian(image.view(), 3.0))
        };
        assert_eq!(run(1), run(4));
        let transposed = image.t().as_standard_layout().to_owned();
        assert_eq!(gaussian(transposed.t(), 3.0), run(1));
    }

    #[test]
    fn no_blur_without_a_width() {
        let image = Array2::from_elem((2, 2), 3.0);
        assert_eq!(gaussian(image.view(), 0.0), image);
        assert_eq!(gaussian(image.view(), f64::NAN), image);
    }
}
