//! Nucleoli: filled, as the granular component is, or a few spots, as the fibrillar centres are.

use crate::simulate::cell::PIXEL_UM;
use crate::simulate::rng::Rng;
use crate::simulate::scene::{Scene, Span};
use crate::simulate::volume::{Texture, Volume};

/// How a nucleolar protein is spread.
#[derive(Debug, Clone)]
pub struct NucleolarStyle {
    filled: f32,
    /// Bright spots per nucleolus.
    spots: f32,
    granularity: f32,
    nucleoplasm: f32,
    cytoplasm: f32,
}

impl NucleolarStyle {
    pub fn draw(rng: &mut Rng) -> Self {
        let spotted = rng.chance(0.35);
        Self {
            filled: if spotted { rng.range(0.25, 0.5) } else { 1.0 },
            spots: if spotted { rng.range(3.0, 7.0) } else { 0.0 },
            granularity: rng.range(0.1, 0.35),
            nucleoplasm: rng.range(0.03, 0.28),
            cytoplasm: rng.range(0.0, 0.12),
        }
    }

    pub fn paint(&self, scene: &Scene, into: &mut Volume, rng: &mut Rng) {
        let grain = Texture::new(scene.size, 1.3, 0.35, rng);
        into.fill(scene, [&grain], |v, [grain]| {
            let body = self.filled * v.nucleolus * (1.0 + self.granularity * grain).max(0.0);
            let outside = if v.cell.has_nucleus() {
                self.cytoplasm
            } else {
                0.35
            };
            v.cell.expression
                * (body
                    + self.nucleoplasm * (v.nucleus - v.nucleolus).max(0.0)
                    + outside * v.cytoplasm)
        });
        if self.spots > 0.0 {
            self.add_spots(scene, into, rng);
        }
    }

    fn add_spots(&self, scene: &Scene, into: &mut Volume, rng: &mut Rng) {
        let amount = 1.3 * into.point();
        for cell in &scene.cells {
            for nucleolus in &cell.nucleoli {
                let reach = 0.75 * nucleolus.outline.reach();
                for _ in 0..(self.spots * rng.range(0.6, 1.4)).round() as usize {
                    let point = [
                        nucleolus.x + reach * rng.range(-1.0, 1.0),
                        nucleolus.y + reach * rng.range(-1.0, 1.0),
                        nucleolus.z + reach * PIXEL_UM * rng.range(-0.8, 0.8),
                    ];
                    let span = scene
                        .column(point[0], point[1])
                        .map_or(Span::EMPTY, |c| c.nucleolus);
                    if span.contains(point[2]) {
                        into.deposit(point, amount * cell.expression * rng.range(0.6, 1.2));
                    }
                }
            }
        }
    }
}
