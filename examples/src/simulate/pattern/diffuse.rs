//! Proteins in solution: nucleoplasm, cytoplasm, and the pools that most proteins have beside their place.

use crate::simulate::rng::Rng;
use crate::simulate::scene::Scene;
use crate::simulate::volume::{Texture, Volume};

/// Concentrations of a dissolved protein.
#[derive(Debug, Clone)]
pub struct Diffuse {
    nucleus: f32,
    cytoplasm: f32,
    /// Part of the nuclear concentration that is left in nucleoli.
    in_nucleoli: f32,
    /// Relative fluctuation and its size in pixels.
    grain: f32,
    grain_size: f32,
    /// Brightness of nuclear speckles.
    speckles: f32,
    /// Loss from the nucleus to the edge of the cell.
    gradient: f32,
}

impl Diffuse {
    /// A nuclear protein: smooth, granular or with speckles, some of it in the cytoplasm.
    #[must_use]
    pub fn nucleoplasm(rng: &mut Rng) -> Self {
        Self {
            nucleus: 1.0,
            cytoplasm: rng.range(0.02, 0.28),
            in_nucleoli: rng.range(0.15, 0.5),
            grain: rng.range(0.08, 0.3),
            grain_size: rng.range(1.0, 1.8),
            speckles: if rng.chance(0.4) {
                rng.range(0.3, 1.0)
            } else {
                0.0
            },
            gradient: 0.0,
        }
    }

    /// A cytoplasmic protein, more or less kept out of the nucleus.
    #[must_use]
    pub fn cytoplasm(rng: &mut Rng) -> Self {
        Self {
            nucleus: rng.range(0.06, 0.4),
            cytoplasm: 1.0,
            in_nucleoli: rng.range(0.3, 0.9),
            grain: rng.range(0.08, 0.32),
            grain_size: rng.range(1.2, 3.5),
            speckles: 0.0,
            gradient: rng.range(0.0, 0.4),
        }
    }

    /// A pool beside another pattern: anywhere between nuclear and cytoplasmic.
    #[must_use]
    pub fn pool(rng: &mut Rng) -> Self {
        Self {
            nucleus: rng.range(0.2, 1.0),
            cytoplasm: rng.range(0.3, 1.0),
            in_nucleoli: 0.5,
            grain: 0.12,
            grain_size: 2.0,
            speckles: 0.0,
            gradient: 0.2,
        }
    }

    /// Adds the protein to a specimen.
    pub fn paint(&self, scene: &Scene, into: &mut Volume, rng: &mut Rng) {
        let fine = Texture::new(scene.size, self.grain_size, 0.35, rng);
        let coarse = Texture::new(scene.size, 3.2, 0.9, rng);
        into.fill(scene, [&fine, &coarse], |v, [fine, coarse]| {
            let grain = (1.0 + self.grain * (0.8 * fine + 0.6 * coarse)).max(0.0);
            let speckle = self.speckles * (coarse - 1.3).clamp(0.0, 1.2);
            let inside = v.nucleus - (1.0 - self.in_nucleoli) * v.nucleolus;
            let outside = v.cytoplasm * (1.0 - self.gradient * v.column.outward.clamp(0.0, 1.0));
            // In mitosis the two compartments are one, and the chromosomes are kept free.
            let mixed = 0.5 * (self.nucleus + self.cytoplasm);
            let level = if v.cell.has_nucleus() {
                self.nucleus * inside * (grain + speckle) + self.cytoplasm * outside * grain
            } else {
                mixed * (v.cytoplasm + 0.35 * v.chromosomes) * grain
            };
            v.cell.expression * level
        });
    }
}
