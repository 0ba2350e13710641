//! The endoplasmic reticulum: a fine net in the cytoplasm, continuous with the nuclear envelope.

use super::envelope::Shell;
use crate::simulate::rng::Rng;
use crate::simulate::scene::Scene;
use crate::simulate::volume::{Texture, Volume};

/// The mesh of the net and how far it reaches.
#[derive(Debug, Clone)]
pub struct Reticulum {
    mesh: f32,
    /// Width of the tubes relative to the mesh.
    width: f32,
    /// Loss of light from the nucleus to the edge of the cell.
    gradient: f32,
    /// Light of the envelope relative to the net.
    envelope: f32,
    inside: f32,
}

impl Reticulum {
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            mesh: rng.range(2.1, 3.2),
            width: rng.range(0.28, 0.5),
            gradient: rng.range(0.3, 0.75),
            envelope: rng.range(0.4, 1.0),
            inside: rng.range(0.02, 0.12),
        }
    }

    pub fn paint(&self, scene: &Scene, into: &mut Volume, rng: &mut Rng) {
        // The zero lines of a smooth random field form a net without loose ends.
        let net = Texture::new(scene.size, self.mesh, 0.55, rng);
        let sheets = Texture::new(scene.size, 7.0, 1.5, rng);
        let shell = Shell::of(scene);
        into.fill(scene, [&net, &sheets], |v, [net, sheet]| {
            let tube = (-(net / self.width).powi(2)).exp();
            let sheet = (0.55 + 0.35 * sheet).clamp(0.1, 1.4);
            let fall = 1.0 - self.gradient * v.column.outward.clamp(0.0, 1.0);
            let net = v.cytoplasm * fall * (1.5 * tube * sheet + 0.12);
            v.cell.expression * (net + self.envelope * shell.cover(v) + self.inside * v.nucleus)
        });
    }
}
