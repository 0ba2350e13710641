//! Seeded watershed by flooding, with compactness and lines.

mod flood;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::error::{SegmentError, check_shape};
use crate::label::{Connectivity, label_components};
use flood::Basin;

/// How [`watershed`] floods.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WatershedParams {
    /// Weight of the distance (in pixels) to the seed, added to the surface; 0 follows the surface alone.
    pub compactness: f64,
    /// Whether a line of background, one pixel wide, separates touching basins.
    pub line: bool,
}

/// Floods `surface` from `seeds` in ascending order inside `mask`; 4-connected.
///
/// A pixel is reached at the higher of its own level and the level from which it is reached; among equal levels the
/// one reached first goes first. Basins that meet keep a line between them if `line` is set. Regions of the mask
/// without a seed stay background. Seeds outside the mask are ignored.
///
/// **Shapes** `surface`, `seeds`, `mask`: `[h, w]` -> labels `[h, w]` (the numbers of the seeds).
///
/// # Errors
/// - [`SegmentError::ShapeMismatch`]: the three arrays differ in shape.
///
/// # References
/// - Neubert P, Protzel P (2014), compact watershed, doi:10.1109/ICPR.2014.181
///
/// # Example
/// ```
/// use cytoself_segment::{WatershedParams, watershed};
/// use ndarray::{Array2, array};
///
/// let surface = array![[0.0, 1.0, 2.0, 1.0, 0.0]];
/// let seeds = array![[1, 0, 0, 0, 2]];
/// let mask = Array2::from_elem((1, 5), true);
/// let params = WatershedParams { compactness: 0.0, line: true };
/// let basins = watershed(surface.view(), seeds.view(), mask.view(), params)?;
/// assert_eq!(basins, array![[1, 1, 0, 2, 2]]);
/// # Ok::<(), cytoself_segment::SegmentError>(())
/// ```
pub fn watershed(
    surface: ArrayView2<'_, f64>,
    seeds: ArrayView2<'_, u32>,
    mask: ArrayView2<'_, bool>,
    params: WatershedParams,
) -> Result<Array2<u32>, SegmentError> {
    check_shape("seeds", surface.shape(), seeds.shape())?;
    check_shape("mask", surface.shape(), mask.shape())?;
    // Basins of different components never meet, so each component is flooded by itself.
    let components = label_components(mask, Connectivity::Four);
    let mut basins = Basin::gather(&components, seeds);
    basins
        .par_iter_mut()
        .filter(|b| b.is_contested())
        .for_each(|b| {
            b.flood(surface, components.image().view(), params);
        });
    let mut out = components.image().mapv(|c| basins[c as usize].sole_label());
    basins.iter().for_each(|b| b.write(&mut out));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    const PLAIN: WatershedParams = WatershedParams {
        compactness: 0.0,
        line: false,
    };

    type At = (usize, usize);

    /// One heap over the whole image, as the definition says.
    fn reference(
        surface: &Array2<f64>,
        seeds: &Array2<u32>,
        mask: &Array2<bool>,
        params: WatershedParams,
    ) -> Array2<u32> {
        let (h, w) = surface.dim();
        let mut open = mask.clone();
        let mut out = Array2::zeros((h, w));
        // Level, order of arrival, pixel, seed pixel.
        let mut queue: Vec<(f64, usize, At, At)> = seeds
            .indexed_iter()
            .filter(|&(at, &s)| s > 0 && mask[at])
            .map(|(at, _)| (f64::NEG_INFINITY, 0, at, at))
            .collect();
        let mut age = 0;
        while !queue.is_empty() {
            let next = (0..queue.len())
                .min_by(|&a, &b| {
                    queue[a]
                        .0
                        .total_cmp(&queue[b].0)
                        .then(queue[a].1.cmp(&queue[b].1))
                })
                .unwrap();
            let (level, _, (y, x), source) = queue.remove(next);
            let label = seeds[source];
            let near: Vec<_> = [
                (y.wrapping_sub(1), x),
                (y, x.wrapping_sub(1)),
                (y, x + 1),
                (y + 1, x),
            ]
            .into_iter()
            .filter(|&(v, u)| v < h && u < w && open[[v, u]])
            .collect();
            if out[[y, x]] != 0 || !open[[y, x]] {
                continue;
            }
            if params.line && near.iter().any(|&at| out[at] != 0 && out[at] != label) {
                open[[y, x]] = false;
                continue;
            }
            out[[y, x]] = label;
            for at in near {
                if out[at] == 0 {
                    age += 1;
                    let far = ((at.0 as f64 - source.0 as f64).powi(2)
                        + (at.1 as f64 - source.1 as f64).powi(2))
                    .sqrt();
                    queue.push((
                        (surface[at] + params.compactness * far).max(level),
                        age,
                        at,
                        source,
                    ));
                }
            }
        }
        out
    }

    #[test]
    fn equals_one_heap_over_the_image() {
        let (h, w) = (24, 31);
        for seed in 0..6_usize {
            let hash = |y: usize, x: usize, k: usize| {
                (y * 7919 + x * 104_729 + y * x * 37 + seed * 613 + k) % 1013
            };
            let surface =
                Array2::from_shape_fn((h, w), |(y, x)| (hash(y, x, 0) % 40) as f64 * 0.25);
            let mask = Array2::from_shape_fn((h, w), |(y, x)| hash(y, x, 5) % 100 < 70 + seed * 6);
            let mut seeds = Array2::zeros((h, w));
            for i in 0..12_u32 {
                // Apart from each other, so that no two seeds touch.
                seeds[[
                    (i as usize % 4) * 6 + seed % 3,
                    (i as usize / 4) * 10 + seed,
                ]] = i + 1;
            }
            for compactness in [0.0, 0.01, 0.5] {
                for line in [false, true] {
                    let params = WatershedParams { compactness, line };
                    let found =
                        watershed(surface.view(), seeds.view(), mask.view(), params).unwrap();
                    assert_eq!(
                        found,
                        reference(&surface, &seeds, &mask, params),
                        "{seed} {params:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn shapes_must_agree() {
        let found = watershed(
            array![[1.0]].view(),
            array![[1, 2]].view(),
            array![[true]].view(),
            PLAIN,
        );
        assert!(matches!(
            found,
            Err(SegmentError::ShapeMismatch { what: "seeds", .. })
        ));
    }

    #[test]
    fn unseeded_regions_stay_background() {
        let mask = array![[true, false, true]];
        let found = watershed(
            Array2::zeros((1, 3)).view(),
            array![[4, 9, 0]].view(),
            mask.view(),
            PLAIN,
        )
        .unwrap();
        assert_eq!(found, array![[4, 0, 0]]);
    }
}
