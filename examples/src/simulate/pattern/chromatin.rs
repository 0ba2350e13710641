//! DNA, and the proteins that follow it.

use crate::simulate::rng::Rng;
use crate::simulate::scene::Scene;
use crate::simulate::volume::{Texture, Volume, Voxel};

/// Density of DNA at a voxel: coarse domains, condensed foci, a rim at the envelope, little in nucleoli; a bright plate in
/// mitosis.
#[must_use]
pub fn dna_density(v: &Voxel, [coarse, fine]: [f32; 2]) -> f32 {
    if !v.cell.has_nucleus() {
        return v.chromosomes * (1.25 + 0.15 * fine);
    }
    let rim = 0.22 * ((v.column.rho - 0.78) * 5.0).clamp(0.0, 1.0);
    let foci = 0.55 * (fine - 1.35).max(0.0);
    let texture = (0.85 + 0.26 * coarse + 0.2 * fine + foci + rim).max(0.15);
    (v.chromosomes - 0.75 * v.nucleolus).max(0.0) * texture
}

/// How a protein follows the DNA.
#[derive(Debug, Clone)]
pub struct Chromatin {
    /// Above 1 prefers condensed chromatin.
    contrast: f32,
    /// Dissolved in the nucleus.
    free: f32,
    cytoplasm: f32,
    /// Part that leaves the chromosomes in mitosis.
    released: f32,
}

impl Chromatin {
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            contrast: rng.range(1.2, 2.4),
            free: rng.range(0.0, 0.12),
            cytoplasm: rng.range(0.0, 0.12),
            released: rng.range(0.0, 0.3),
        }
    }

    pub fn paint(&self, scene: &Scene, dna: &[Texture; 2], into: &mut Volume) {
        into.fill(scene, [&dna[0], &dna[1]], |v, textures| {
            let bound = dna_density(v, textures).powf(self.contrast);
            let bound = if v.cell.has_nucleus() {
                bound
            } else {
                bound * (1.0 - self.released) + 0.1 * self.released
            };
            v.cell.expression * (bound + self.free * v.nucleus + self.cytoplasm * v.cytoplasm)
        });
    }
}
