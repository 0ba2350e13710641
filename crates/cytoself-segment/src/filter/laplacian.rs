//! The five-point Laplacian.

use ndarray::{Array2, ArrayView2};

/// Negative five-point Laplacian: four times the pixel minus its four neighbours.
///
/// The sign makes the inside of a bright blob positive. Outside the image the edge pixel goes on.
///
/// **Shapes** `image: [h, w]` -> `[h, w]`.
///
/// # Example
/// ```
/// use cytoself_segment::laplacian;
/// use ndarray::array;
///
/// let blob = array![[0.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 0.0]];
/// assert_eq!(laplacian(blob.view()), array![[0.0, -5.0, 0.0], [-5.0, 20.0, -5.0], [0.0, -5.0, 0.0]]);
/// ```
#[must_use]
pub fn laplacian(image: ArrayView2<'_, f64>) -> Array2<f64> {
    let image = image.as_standard_layout();
    let (height, width) = image.dim();
    let mut out = Array2::zeros((height, width));
    let Some(source) = image.as_slice().filter(|s| !s.is_empty()) else {
        return out;
    };
    let row = |y: usize| &source[y * width..(y + 1) * width];
    for (y, mut line) in out.outer_iter_mut().enumerate() {
        if let Some(line) = line.as_slice_mut() {
            laplacian_row(
                row(y.saturating_sub(1)),
                row(y),
                row((y + 1).min(height - 1)),
                line,
            );
        }
    }
    out
}

fn laplacian_row(above: &[f64], row: &[f64], below: &[f64], out: &mut [f64]) {
    let last = row.len() - 1;
    let at = |x: usize, left: usize, right: usize| {
        4.0 * row[x] - above[x] - row[left] - row[right] - below[x]
    };
    for (x, value) in out.iter_mut().enumerate().take(last).skip(1) {
        *value = at(x, x - 1, x + 1);
    }
    out[0] = at(0, 0, 1.min(last));
    out[last] = at(last, last.saturating_sub(1), last);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_edge_goes_on() {
        assert_eq!(laplacian(array![[7.0]].view()), array![[0.0]]);
        assert_eq!(laplacian(array![[1.0, 4.0]].view()), array![[-3.0, 3.0]]);
        assert_eq!(laplacian(Array2::zeros((0, 3)).view()).dim(), (0, 3));
    }
}
