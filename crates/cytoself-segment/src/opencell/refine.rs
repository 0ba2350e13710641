//! Steps 2 to 6: outlines from the Laplacian of Gaussian, gaps cut out, small regions removed.

use ndarray::{Array2, ArrayView2, Zip};

use super::OpenCell;
use crate::filter::{gaussian, laplacian};
use crate::label::{Connectivity, label_components};
use crate::mask::{close_disk, fill_small_holes};
use crate::threshold::percentile;

/// Refines the foreground by the sign of the Laplacian of Gaussian (sigma 4) and cuts the gaps between nuclei.
///
/// The part with positive Laplacian (bright inside) is closed (disk 5), its holes below 10,000 px are filled, and it
/// is limited to the foreground again. Then each connected region of the lowest 7 % of the Laplacian (dark valleys) is
/// cut out if it reaches the background or is larger than 900 px; small ones inside a nucleus stay.
///
/// **Shapes** `image: [h, w]`, `background: [h, w]` (of [`super::background_mask`]) -> `[h, w]`.
#[must_use]
pub fn refine_mask(
    image: ArrayView2<'_, f64>,
    background: ArrayView2<'_, bool>,
    chain: &OpenCell,
) -> Array2<bool> {
    let log = laplacian(gaussian(image, chain.log_blur()).view());
    let bright = Zip::from(&log)
        .and(background)
        .map_collect(|&v, &inside| v > 0.0 && inside);
    let closed = close_disk(bright.view(), chain.closing_radius());
    let mut mask = fill_small_holes(closed.view(), chain.hole_area());
    mask.zip_mut_with(&background, |m, &inside| *m &= inside);
    let low = percentile(log.view(), chain.params().percentile);
    cut_gaps(&mut mask, log.mapv(|v| v < low).view(), chain.gap_area());
    mask
}

/// Removes each 4-connected region of `gaps` that leaves `mask` somewhere or is larger than `area`.
fn cut_gaps(mask: &mut Array2<bool>, gaps: ArrayView2<'_, bool>, area: f64) {
    let regions = label_components(gaps, Connectivity::Four);
    let mut cut: Vec<bool> = regions.areas().iter().map(|&a| a as f64 > area).collect();
    Zip::from(regions.image())
        .and(&*mask)
        .for_each(|&gap, &inside| cut[gap as usize] |= !inside);
    cut[0] = false;
    mask.zip_mut_with(regions.image(), |m, &gap| *m &= !cut[gap as usize]);
}

/// Removes 4-connected regions of less than 1000 px.
///
/// **Shapes** `refined: [h, w]` -> `[h, w]`.
#[must_use]
pub fn clean_mask(refined: ArrayView2<'_, bool>, chain: &OpenCell) -> Array2<bool> {
    let regions = label_components(refined, Connectivity::Four);
    let areas = regions.areas();
    regions.retain(|l| areas[l as usize] as f64 >= chain.nucleus_area())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn gaps_are_cut_where_they_reach_the_background_or_are_large() {
        let all = |v: bool| Array2::from_elem((3, 7), v);
        let gaps = array![
            [true, false, false, false, false, true, true],
            [true, false, true, false, false, true, true],
            [false, false, false, false, false, false, false],
        ];
        let mut mask = all(true);
        cut_gaps(&mut mask, gaps.view(), 3.0);
        assert!(mask[[0, 0]] && mask[[1, 2]] && !mask[[0, 5]]);
        mask = all(true);
        mask[[1, 0]] = false;
        cut_gaps(&mut mask, gaps.view(), 10.0);
        assert!(!mask[[0, 0]] && mask[[1, 2]] && mask[[0, 5]]);
    }
}
