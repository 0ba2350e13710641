//! Symmetries of a crop.

use crate::config::AugmentationGroup;
use crate::random::{Stream, Use};

/// A symmetry of a crop: an optional transposition, then optional flips. By default none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Symmetry {
    /// Exchanges rows and columns.
    pub transpose: bool,
    /// Brings the last row first.
    pub flip_rows: bool,
    /// Brings the last column first.
    pub flip_columns: bool,
}

impl Symmetry {
    /// The symmetry of crop `row` in `epoch`, uniform over the group.
    pub(crate) fn draw(
        group: AugmentationGroup,
        square: bool,
        seed: u64,
        epoch: u64,
        row: u64,
    ) -> Self {
        let bits = Stream::new(seed, Use::Augment, &[epoch, row]).bits() >> 61;
        let transpose = group == AugmentationGroup::Dihedral && square && bits & 4 != 0;
        match group {
            AugmentationGroup::None => Self::default(),
            _ => Self {
                transpose,
                flip_rows: bits & 1 != 0,
                flip_columns: bits & 2 != 0,
            },
        }
    }

    /// The symmetry as the kernel `augment` takes it: bit 0 flips rows, bit 1 columns, bit 2 transposes.
    #[cfg(any(test, feature = "candle-cuda"))]
    pub(crate) fn bits(self) -> u32 {
        [self.flip_rows, self.flip_columns, self.transpose]
            .into_iter()
            .zip(0..)
            .map(|(flag, place)| u32::from(flag) << place)
            .sum()
    }

    /// Applies the symmetry to each plane of `[planes, h, w]`, through `scratch`. Transposing needs h == w.
    pub(crate) fn apply(self, images: &mut [f32], [h, w]: [usize; 2], scratch: &mut Vec<f32>) {
        if !(self.transpose || self.flip_rows || self.flip_columns) {
            return;
        }
        scratch.resize(h * w, 0.0);
        for plane in images.chunks_exact_mut(h * w) {
            scratch.copy_from_slice(plane);
            for (i, line) in plane.chunks_exact_mut(w).enumerate() {
                let i = if self.flip_rows { h - 1 - i } else { i };
                for (j, pixel) in line.iter_mut().enumerate() {
                    let j = if self.flip_columns { w - 1 - j } else { j };
                    *pixel = if self.transpose {
                        scratch[j * w + i]
                    } else {
                        scratch[i * w + j]
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    fn counts(group: AugmentationGroup, square: bool) -> HashMap<Symmetry, usize> {
        let mut counts = HashMap::new();
        for row in 0..8000 {
            *counts
                .entry(Symmetry::draw(group, square, 1, 3, row))
                .or_default() += 1;
        }
        counts
    }

    #[test]
    fn the_dihedral_group_is_drawn_uniformly() {
        let counts = counts(AugmentationGroup::Dihedral, true);
        assert_eq!(counts.len(), 8);
        assert!(
            counts.values().all(|&c| (880..1120).contains(&c)),
            "{counts:?}"
        );
    }

    #[test]
    fn subsets() {
        assert_eq!(counts(AugmentationGroup::TorchSubset, true).len(), 4);
        assert_eq!(counts(AugmentationGroup::Dihedral, false).len(), 4);
        assert_eq!(counts(AugmentationGroup::None, true).len(), 1);
        assert!(
            counts(AugmentationGroup::TorchSubset, true)
                .keys()
                .all(|s| !s.transpose)
        );
    }

    #[test]
    fn eight_different_images() {
        let image: Vec<f32> = (0..9).map(|v| v as f32).collect();
        let mut seen = HashSet::new();
        for bits in 0..8_u8 {
            let symmetry = Symmetry {
                transpose: bits & 4 != 0,
                flip_rows: bits & 1 != 0,
                flip_columns: bits & 2 != 0,
            };
            assert_eq!(symmetry.bits(), u32::from(bits));
            let mut turned = image.clone();
            symmetry.apply(&mut turned, [3, 3], &mut Vec::new());
            seen.insert(turned.iter().map(|v| *v as u8).collect::<Vec<_>>());
        }
        assert_eq!(seen.len(), 8);
        let quarter = Symmetry {
            transpose: true,
            flip_rows: false,
            flip_columns: true,
        };
        let mut turned = image;
        quarter.apply(&mut turned, [3, 3], &mut Vec::new());
        assert_eq!(turned, [6.0, 3.0, 0.0, 7.0, 4.0, 1.0, 8.0, 5.0, 2.0]);
    }
}
