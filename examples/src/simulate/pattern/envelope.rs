//! The nuclear envelope: a thin shell in three dimensions, bright where it stands upright.

use crate::simulate::rng::Rng;
use crate::simulate::scene::{Scene, Span};
use crate::simulate::volume::{Texture, Volume, Voxel};

/// Thickness of the drawn shell in the plane, pixels.
const THICKNESS: f32 = 1.7;
/// Thickness of its roof and floor, um. Blurred by the point spread, roof and floor have about a third of the rim's light.
const ROOF_UM: f32 = 0.19;

/// The light of the envelope over the nucleus and its continuation in the reticulum.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Unevenness along the envelope: pores, patches.
    patches: f32,
    patch_size: f32,
    inside: f32,
    outside: f32,
}

impl Envelope {
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            patches: rng.range(0.1, 0.4),
            patch_size: rng.range(0.9, 2.2),
            inside: rng.range(0.02, 0.2),
            outside: rng.range(0.02, 0.22),
        }
    }

    pub fn paint(&self, scene: &Scene, into: &mut Volume, rng: &mut Rng) {
        let patches = Texture::new(scene.size, self.patch_size, 0.4, rng);
        let shell = Shell::of(scene);
        into.fill(scene, [&patches], |v, [patch]| {
            let wall = shell.cover(v) * (1.0 + self.patches * patch).max(0.0);
            let reticulum = if v.cell.has_nucleus() {
                self.outside * (1.0 - 0.7 * v.column.outward).max(0.0)
            } else {
                0.5
            };
            v.cell.expression * (1.9 * wall + self.inside * v.nucleus + reticulum * v.cytoplasm)
        });
    }
}

/// The heights inside the envelope, for every pixel.
pub struct Shell {
    inner: Vec<Span>,
}

impl Shell {
    /// The shells of all nuclei of a scene.
    pub fn of(scene: &Scene) -> Self {
        let inner = scene.columns.iter().map(|column| {
            if column.nucleus.high <= column.nucleus.low {
                return Span::EMPTY;
            }
            let cell = &scene.cells[usize::from(column.cell)];
            let rho = column.rho * (1.0 + THICKNESS / 34.0);
            if rho >= 1.0 {
                return Span::EMPTY;
            }
            let half = (cell.half_height - ROOF_UM) * (1.0 - rho.powf(2.6)).sqrt();
            Span {
                low: cell.z - half,
                high: cell.z + half,
            }
        });
        Self {
            inner: inner.collect(),
        }
    }

    /// Part of a voxel that lies in the wall.
    pub fn cover(&self, v: &Voxel) -> f32 {
        (v.nucleus - self.inner[v.index].cover(v.z, v.slab)).max(0.0)
    }
}
