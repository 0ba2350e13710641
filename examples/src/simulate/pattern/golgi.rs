//! The Golgi apparatus: stacked ribbons on one side of the nucleus, whole or in pieces, scattered in mitosis.

use std::f32::consts::PI;

use super::site::Cytoplasm;
use crate::simulate::cell::Cell;
use crate::simulate::rng::Rng;
use crate::simulate::scene::Scene;
use crate::simulate::volume::Volume;

const STRIDE: f32 = 0.7;

/// Extent and wholeness of the ribbon.
#[derive(Debug, Clone)]
pub struct Golgi {
    /// Angle along the nucleus that the ribbon takes, radians.
    arc: f32,
    strands: usize,
    /// Half of a strand's thickness, pixels.
    radius: f32,
    /// Part of the ribbon that is missing between its pieces.
    gaps: f32,
    /// Carriers elsewhere in the cell.
    carriers: f32,
}

impl Golgi {
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            arc: rng.range(0.5, 1.2),
            strands: 4 + rng.below(4),
            radius: rng.range(0.6, 1.2),
            gaps: rng.range(0.1, 0.5),
            carriers: rng.range(0.0, 10.0),
        }
    }

    pub fn paint(&self, scene: &Scene, into: &mut Volume, rng: &mut Rng) {
        for (index, cell) in scene.cells.iter().enumerate() {
            let cytoplasm = Cytoplasm::of(scene, index);
            let mut carriers = self.carriers;
            if cell.has_nucleus() {
                let arc = self.arc * rng.range(0.7, 1.3);
                for _ in 0..self.strands {
                    self.strand(cell, cytoplasm, arc, into, rng);
                }
            } else {
                carriers += 45.0;
            }
            for _ in 0..(carriers * rng.range(0.5, 1.5)) as usize {
                if let Some(point) = cytoplasm.point(1.1, rng) {
                    let amount = into.point() * cell.expression * rng.range(0.25, 0.8);
                    into.deposit(point, amount);
                }
            }
        }
    }

    fn strand(
        &self,
        cell: &Cell,
        cytoplasm: Cytoplasm,
        arc: f32,
        into: &mut Volume,
        rng: &mut Rng,
    ) {
        let amount = into.line(STRIDE) * cell.expression;
        let mut angle = cell.centrosome + rng.range(-0.25, 0.25) - 0.5 * arc;
        let end = angle + arc * rng.range(0.7, 1.15);
        let (mut away, mut drift) = (rng.range(2.0, 15.0), 0.0f32);
        let mut z = cell.z + rng.range(-1.0, 1.6);
        let mut left = rng.range(6.0, 20.0);
        let mut visible = true;
        let wave = (
            rng.range(0.1, 0.35),
            rng.range(0.0, 2.0 * PI),
            rng.range(1.0, 4.0),
        );
        let mut travelled = 0.0;
        while angle < end {
            let r = cell.nucleus.at(angle) + away + wave.2 * (wave.0 * travelled + wave.1).sin();
            // Where the wave is steep the curve is longer than its angle.
            angle += STRIDE / r / (1.0 + (wave.0 * wave.2).powi(2)).sqrt();
            travelled += STRIDE;
            drift = 0.85 * drift + 0.16 * rng.normal();
            away = (away + drift).clamp(1.5, 20.0);
            z += 0.02 * rng.normal();
            left -= STRIDE;
            if left < 0.0 {
                visible = !visible;
                left = if visible {
                    rng.range(5.0, 18.0)
                } else {
                    rng.range(2.0, 16.0) * self.gaps
                };
            }
            let point = [cell.x + r * angle.cos(), cell.y + r * angle.sin(), z];
            if visible && cytoplasm.contains(point) {
                let (dx, dy) = (self.radius * rng.normal(), self.radius * rng.normal());
                into.deposit(
                    [point[0] + dx, point[1] + dy, z],
                    amount * rng.range(0.5, 1.5),
                );
            }
        }
    }
}
