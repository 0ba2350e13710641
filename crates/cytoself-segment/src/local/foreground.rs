//! The local threshold.

use ndarray::{Array2, ArrayView2, Zip};

use super::Local;
use crate::filter::gaussian;
use crate::threshold::{li_threshold, percentile};

/// Rounds of classification; the classes hardly change after the second.
const ROUNDS: usize = 2;
/// Weight of the mean over the whole image where a class is absent around a pixel.
const FAR: f64 = 1e-3;
/// Cells of the grid of local means per standard deviation of their weights.
const CELLS_PER_SIGMA: f64 = 6.0;

/// Pixels brighter than a given share of the contrast between the nuclei and the background around them; returns the
/// mask and the global threshold that it starts from.
///
/// Li's threshold makes a first guess of both classes. Their local means (Gaussian-weighted over pixels of the class
/// alone, over about a nucleus' diameter) give every pixel its own threshold, `b + contrast * (n - b)`, and with it
/// better classes, twice. So a dim nucleus beside a bright one, or in a dark corner, gets a threshold of its own.
///
/// **Shapes** `image: [h, w]`, finite -> `[h, w]`.
#[must_use]
pub fn local_foreground(image: ArrayView2<'_, f64>, method: &Local) -> (Array2<bool>, f64) {
    let blurred = gaussian(image, method.blur());
    let threshold = li_threshold(blurred.view());
    let darkest = percentile(blurred.view(), 1.0);
    let floor = darkest + (threshold - darkest) * method.floor();
    let mut mask = blurred.mapv(|v| v > threshold);
    let grid = Grid::new(&blurred, method.neighbourhood());
    for _ in 0..ROUNDS {
        let local = grid.thresholds(&mask, method.params().contrast);
        Zip::from(&mut mask)
            .and(&blurred)
            .and(&local)
            .for_each(|m, &v, &t| *m = v > floor && v > t);
    }
    (mask, threshold)
}

/// The image on a coarse grid, on which local means are taken: they change too slowly from pixel to pixel to need more.
struct Grid<'a> {
    image: &'a Array2<f64>,
    /// Pixels of the image per cell of the grid, along each side.
    step: usize,
    /// Standard deviation of the weights of a local mean, in cells.
    sigma: f64,
    /// Local means over both classes.
    both: Array2<f64>,
}

impl<'a> Grid<'a> {
    fn new(image: &'a Array2<f64>, sigma: f64) -> Self {
        let step = ((sigma / CELLS_PER_SIGMA) as usize).max(1);
        let sigma = sigma / step as f64;
        let cells = block_means(image.dim(), step, |y, x| image[[y, x]]);
        Self {
            image,
            step,
            sigma,
            both: gaussian(cells.view(), sigma),
        }
    }

    /// The threshold of every pixel of the image, from the classes of `mask`.
    fn thresholds(&self, mask: &Array2<bool>, contrast: f64) -> Array2<f64> {
        let inside = |y: usize, x: usize| {
            if mask[[y, x]] {
                self.image[[y, x]]
            } else {
                0.0
            }
        };
        let count = mask.iter().filter(|&&m| m).count() as f64;
        let sum: f64 = mask
            .iter()
            .zip(self.image)
            .filter(|(m, _)| **m)
            .map(|(_, v)| v)
            .sum();
        let far_nuclei = sum / count.max(1.0);
        let far_background = (self.image.sum() - sum) / (mask.len() as f64 - count).max(1.0);
        let weights = block_means(mask.dim(), self.step, |y, x| {
            f64::from(u8::from(mask[[y, x]]))
        });
        let values = block_means(mask.dim(), self.step, inside);
        let cells = Zip::from(&gaussian(weights.view(), self.sigma))
            .and(&gaussian(values.view(), self.sigma))
            .and(&self.both)
            .map_collect(|&weight, &value, &both| {
                let nuclei = (value + FAR * far_nuclei) / (weight + FAR);
                // What is not a nucleus is background; the weights of both add up to 1.
                let rest = (1.0 - weight).max(0.0);
                let background = (both - value + FAR * far_background) / (rest + FAR);
                background + contrast * (nuclei - background).max(0.0)
            });
        enlarge(&cells, self.step, mask.dim())
    }
}

/// Mean of `value` over blocks of `step` x `step` pixels; those at the far edges hold fewer.
fn block_means(
    (height, width): (usize, usize),
    step: usize,
    value: impl Fn(usize, usize) -> f64,
) -> Array2<f64> {
    let mut sums = Array2::<f64>::zeros((height.div_ceil(step), width.div_ceil(step)));
    for y in 0..height {
        for x in 0..width {
            sums[[y / step, x / step]] += value(y, x);
        }
    }
    let filled = |cell: usize, length: usize| (length - cell * step).min(step) as f64;
    sums.indexed_iter_mut()
        .for_each(|((y, x), sum)| *sum /= filled(y, height) * filled(x, width));
    sums
}

/// From cells back to pixels, linearly between the centres of cells.
fn enlarge(cells: &Array2<f64>, step: usize, (height, width): (usize, usize)) -> Array2<f64> {
    if step == 1 {
        return cells.clone();
    }
    let place = |i: usize, count: usize| {
        let at = ((i as f64 + 0.5) / step as f64 - 0.5).clamp(0.0, count as f64 - 1.0);
        let low = at as usize;
        (low, (low + 1).min(count - 1), at - low as f64)
    };
    let columns: Vec<_> = (0..width).map(|x| place(x, cells.ncols())).collect();
    let mut out = Array2::zeros((height, width));
    for (y, mut row) in out.outer_iter_mut().enumerate() {
        let (top, bottom, below) = place(y, cells.nrows());
        let line: Vec<f64> = cells
            .row(top)
            .iter()
            .zip(cells.row(bottom))
            .map(|(a, b)| a + below * (b - a))
            .collect();
        for (value, &(left, right, beside)) in row.iter_mut().zip(&columns) {
            *value = line[left] + beside * (line[right] - line[left]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_back() {
        let image = Array2::from_shape_fn((7, 10), |(y, x)| (y * 2 + x * 3) as f64);
        let cells = block_means(image.dim(), 3, |y, x| image[[y, x]]);
        assert_eq!(cells.dim(), (3, 4));
        assert_eq!((cells[[1, 1]], cells[[2, 3]]), (20.0, 39.0));
        let back = enlarge(&cells, 3, image.dim());
        // A ramp stays one between the centres of whole cells.
        for y in 1..=4 {
            for x in 1..=7 {
                assert!((back[[y, x]] - image[[y, x]]).abs() < 1e-12, "{y} {x}");
            }
        }
        assert_eq!(enlarge(&image, 1, image.dim()), image);
    }

    #[test]
    fn a_coarse_grid_gives_the_means_of_the_pixels() {
        // Flat along the edges, where one grid repeats a pixel and the other a block.
        let image = Array2::from_shape_fn((120, 90), |(y, x)| {
            if !(8..112).contains(&y) || !(8..82).contains(&x) {
                return 100.0;
            }
            100.0 + 80.0 * ((y as f64 / 9.0).sin() * (x as f64 / 7.0).cos()) + (x % 4) as f64
        });
        let mask = image.mapv(|v| v > 120.0);
        let (coarse, mut fine) = (Grid::new(&image, 24.0), Grid::new(&image, 24.0));
        assert_eq!(coarse.step, 4);
        let cells = block_means(image.dim(), 1, |y, x| image[[y, x]]);
        (fine.step, fine.sigma, fine.both) = (1, 24.0, gaussian(cells.view(), 24.0));
        let off = (coarse.thresholds(&mask, 0.5) - fine.thresholds(&mask, 0.5))
            .mapv(f64::abs)
            .fold(0.0, |a: f64, &b| a.max(b));
        assert!(off < 0.5, "{off} of thresholds around 120");
    }
}
