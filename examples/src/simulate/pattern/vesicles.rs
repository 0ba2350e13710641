//! Vesicles: small bodies in the cytoplasm, some hollow, scattered or gathered near the centrosome.

use super::site::Cytoplasm;
use crate::simulate::cell::Cell;
use crate::simulate::rng::Rng;
use crate::simulate::scene::Scene;
use crate::simulate::volume::Volume;

/// Number, size and place of the bodies.
#[derive(Debug, Clone)]
pub struct Vesicles {
    count: f32,
    /// Radius, pixels.
    radius: f32,
    hollow: bool,
    /// Above 1 crowds at the nucleus.
    inward: f32,
    /// Part that sits on the side of the centrosome.
    polar: f32,
    /// Spread of the brightness of single bodies.
    spread: f32,
}

impl Vesicles {
    pub fn draw(rng: &mut Rng) -> Self {
        let radius = rng.range(0.6, 2.4);
        Self {
            count: rng.range(38.0, 95.0) / radius.max(0.9),
            radius,
            hollow: radius > 1.7 && rng.chance(0.5),
            inward: rng.range(0.7, 1.4),
            polar: rng.range(0.0, 0.35),
            spread: rng.range(0.3, 0.6),
        }
    }

    pub fn paint(&self, scene: &Scene, into: &mut Volume, rng: &mut Rng) {
        for (index, cell) in scene.cells.iter().enumerate() {
            let cytoplasm = Cytoplasm::of(scene, index);
            for _ in 0..(self.count * rng.log_normal(0.25)) as usize {
                let Some(point) = self.place(cell, cytoplasm, rng) else {
                    continue;
                };
                self.body(
                    point,
                    cell.expression * rng.log_normal(self.spread),
                    into,
                    rng,
                );
            }
        }
    }

    fn place(&self, cell: &Cell, cytoplasm: Cytoplasm, rng: &mut Rng) -> Option<[f32; 3]> {
        let polar = cell.has_nucleus() && rng.chance(self.polar);
        (0..6).find_map(|_| {
            let point = cytoplasm.point(self.inward, rng)?;
            let side = (cell.polar(point[0], point[1]).0 - cell.centrosome).cos();
            (!polar || side > 0.6).then_some(point)
        })
    }

    fn body(&self, point: [f32; 3], level: f32, into: &mut Volume, rng: &mut Rng) {
        let radius = self.radius * rng.log_normal(0.22);
        if radius < 1.1 {
            let amount = into.point();
            into.deposit(point, amount * level);
        } else {
            let inner = if self.hollow { radius - 0.8 } else { 0.0 };
            // A small ball is dimmed by the point spread; a hollow one more so.
            into.ball(
                point,
                radius,
                inner,
                level * if self.hollow { 2.6 } else { 1.6 },
            );
        }
    }
}
