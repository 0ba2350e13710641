//! Mitochondria: bent tubes that crowd around the nucleus or reach to the edge, whole or in pieces.

use super::site::Cytoplasm;
use crate::simulate::rng::Rng;
use crate::simulate::scene::Scene;
use crate::simulate::volume::Volume;

const STRIDE: f32 = 0.7;

/// Length, number and place of the tubes.
#[derive(Debug, Clone)]
pub struct Mitochondria {
    /// Tubes of a cell of usual size.
    count: f32,
    /// Mean length, pixels.
    length: f32,
    /// Half of a tube's thickness, pixels.
    radius: f32,
    /// Above 1 crowds at the nucleus.
    inward: f32,
    bend: f32,
    /// Unevenness of light along a tube (nucleoids).
    beads: f32,
}

impl Mitochondria {
    pub fn draw(rng: &mut Rng) -> Self {
        let length = rng.range(12.0, 42.0);
        Self {
            count: rng.range(1400.0, 2200.0) / length,
            length,
            radius: rng.range(0.4, 0.95),
            inward: rng.range(0.9, 1.7),
            bend: rng.range(0.04, 0.11),
            beads: if rng.chance(0.3) {
                rng.range(0.5, 0.9)
            } else {
                0.2
            },
        }
    }

    pub fn paint(&self, scene: &Scene, into: &mut Volume, rng: &mut Rng) {
        let amount = into.line(STRIDE);
        for (index, cell) in scene.cells.iter().enumerate() {
            let cytoplasm = Cytoplasm::of(scene, index);
            let (count, length) = if cell.has_nucleus() {
                (self.count, self.length)
            } else {
                (1.6 * self.count, 0.5 * self.length)
            };
            for _ in 0..(count * rng.range(0.75, 1.25)) as usize {
                let Some(start) = cytoplasm.point(self.inward, rng) else {
                    continue;
                };
                let steps = (length * rng.log_normal(0.5) / STRIDE).clamp(5.0, 150.0) as usize;
                let level = amount * cell.expression * rng.range(0.6, 1.2);
                let mut bead = 0.0f32;
                for [x, y, z] in cytoplasm.curve(start, steps, STRIDE, self.bend, rng) {
                    bead = 0.75 * bead + 0.66 * rng.normal();
                    let here = level * (1.0 + self.beads * bead).max(0.1);
                    let (dx, dy) = (self.radius * rng.normal(), self.radius * rng.normal());
                    into.deposit([x + dx, y + dy, z], here);
                }
            }
        }
    }
}
