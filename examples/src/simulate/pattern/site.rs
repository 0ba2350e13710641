//! Random places and curves in the cytoplasm of a cell.

use std::f32::consts::TAU;

use crate::simulate::rng::Rng;
use crate::simulate::scene::{Column, Scene};

/// The cytoplasm of one cell.
#[derive(Debug, Clone, Copy)]
pub struct Cytoplasm<'a> {
    scene: &'a Scene,
    cell: u16,
}

impl<'a> Cytoplasm<'a> {
    /// The cytoplasm of cell number `cell`.
    pub fn of(scene: &'a Scene, cell: usize) -> Self {
        Self {
            scene,
            cell: cell as u16,
        }
    }

    /// The column under a point if it belongs to the cell.
    pub fn column(self, x: f32, y: f32) -> Option<&'a Column> {
        self.scene.column(x, y).filter(|c| c.cell == self.cell)
    }

    /// Whether a point (pixels, pixels, um) lies inside, a little away from every membrane.
    pub fn contains(self, [x, y, z]: [f32; 3]) -> bool {
        self.column(x, y)
            .is_some_and(|c| z > 0.2 && z < c.top - 0.15 && c.edge > 1.2 && !c.nucleus.contains(z))
    }

    /// A random point; `inward` above 1 crowds the points at the nucleus, below 1 at the edge.
    pub fn point(self, inward: f32, rng: &mut Rng) -> Option<[f32; 3]> {
        let cell = &self.scene.cells[usize::from(self.cell)];
        for _ in 0..12 {
            let angle = rng.range(0.0, TAU);
            let (inner, outer) = (cell.nucleus.at(angle), cell.body.at(angle));
            // Some of the cytoplasm lies above and below the nucleus.
            let start = if rng.chance(0.12) || !cell.has_nucleus() {
                0.35 * inner
            } else {
                0.97 * inner
            };
            let r = start + (outer - start) * rng.uniform().powf(inward);
            let (x, y) = (cell.x + r * angle.cos(), cell.y + r * angle.sin());
            let Some(column) = self.column(x, y) else {
                continue;
            };
            let point = [x, y, rng.range(0.25, column.top.max(0.6))];
            if self.contains(point) {
                return Some(point);
            }
        }
        None
    }

    /// A curve of `steps` steps of `stride` pixels that wanders inside; `bend` is the change of direction per step.
    pub fn curve(
        self,
        start: [f32; 3],
        steps: usize,
        stride: f32,
        bend: f32,
        rng: &mut Rng,
    ) -> Vec<[f32; 3]> {
        let mut heading = rng.range(0.0, TAU);
        let mut turn = 0.0;
        let mut climb = rng.range(-0.03, 0.03);
        let mut at = start;
        let mut points = Vec::with_capacity(steps);
        for _ in 0..steps {
            points.push(at);
            turn = 0.8 * turn + bend * rng.normal();
            climb = 0.9 * climb + 0.012 * rng.normal();
            let next = [
                at[0] + stride * (heading + turn).cos(),
                at[1] + stride * (heading + turn).sin(),
                at[2] + climb,
            ];
            if self.contains(next) {
                heading += turn;
                at = next;
            } else {
                heading += rng.range(0.5, 1.6);
                climb = -climb;
            }
        }
        points
    }
}
