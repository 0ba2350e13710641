use cytoself_segment::percentile;
use ndarray::{Array2, ArrayView2};

/// Red, green and blue of a pixel.
pub type Rgb = [u8; 3];

/// Images are enlarged by a whole number until their longer side has about this many pixels.
const LARGE: usize = 640;
/// Percentiles that become black and white: a few hot pixels do not darken the rest.
const STRETCH: [f64; 2] = [0.5, 99.8];

/// The image in grey with the outline of every label in the label's colour; small images are enlarged, so that the line
/// of one pixel hides little.
///
/// **Shapes** `image: [h, w]`, `labels: [h, w]`, 0 for background -> `[k h, k w]`.
#[must_use]
pub fn outlines(
    image: ArrayView2<'_, f32>,
    labels: ArrayView2<'_, u32>,
    color: &dyn Fn(u32) -> Rgb,
) -> Array2<Rgb> {
    let (h, w) = image.dim();
    let factor = (LARGE / h.max(w).max(1)).clamp(1, 8);
    let grey = stretched(image);
    Array2::from_shape_fn((h * factor, w * factor), |(y, x)| {
        let label = labels[[y / factor, x / factor]];
        let other = |y: usize, x: usize| labels[[y / factor, x / factor]] != label;
        let outline = label != 0
            && ((y > 0 && other(y - 1, x))
                || (x > 0 && other(y, x - 1))
                || (y + 1 < h * factor && other(y + 1, x))
                || (x + 1 < w * factor && other(y, x + 1)));
        if outline {
            color(label)
        } else {
            [grey[[y / factor, x / factor]]; 3]
        }
    })
}

/// Intensities as grey values between two percentiles.
#[must_use]
pub fn stretched(image: ArrayView2<'_, f32>) -> Array2<u8> {
    let values = image.mapv(f64::from);
    let [low, high] = STRETCH.map(|p| percentile(values.view(), p));
    let range = (high - low).max(f64::MIN_POSITIVE);
    values.mapv(|v| ((v - low) / range * 255.0).clamp(0.0, 255.0).round() as u8)
}

/// Pictures side by side on black, a gap between them.
#[must_use]
pub fn beside(pictures: &[Array2<Rgb>], gap: usize) -> Array2<Rgb> {
    let h = pictures.iter().map(Array2::nrows).max().unwrap_or(0);
    let gaps = gap * pictures.len().saturating_sub(1);
    let w = pictures.iter().map(Array2::ncols).sum::<usize>() + gaps;
    let mut out = Array2::from_elem((h, w), [0; 3]);
    let mut left = 0;
    for picture in pictures {
        let (ph, pw) = picture.dim();
        out.slice_mut(ndarray::s![..ph, left..left + pw])
            .assign(picture);
        left += pw + gap;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_runs_along_the_inner_side() {
        let image = Array2::from_shape_fn((200, 300), |(y, x)| (y + x) as f32);
        let labels = Array2::from_shape_fn((200, 300), |(y, x)| {
            u32::from((50..60).contains(&y) && (20..40).contains(&x)) * 7
        });
        let drawn = outlines(image.view(), labels.view(), &|label| [label as u8, 0, 255]);
        assert_eq!(drawn.dim(), (400, 600));
        let line = |y: usize, x: usize| drawn[[y, x]] == [7, 0, 255];
        assert!(line(100, 40) && line(119, 79) && line(100, 60) && line(110, 40));
        assert!(!line(99, 40) && !line(102, 42) && !line(120, 60));
        let pair = beside(&[drawn.clone(), drawn], 4);
        assert_eq!(pair.dim(), (400, 1204));
    }

    #[test]
    fn a_flat_image_is_not_a_fault() {
        let flat = Array2::from_elem((3, 4), 5.0);
        assert!(stretched(flat.view()).iter().all(|&v| v == 0));
    }
}
