//! The field before it is labelled: for every pixel, whose cell it is and which heights its compartments span.

use ndarray::Array2;

use super::cell::{Cell, PIXEL_UM};
use super::plane::smooth_noise;
use super::rng::Rng;

/// A span of heights, um; empty if `high <= low`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Lower end.
    pub low: f32,
    /// Upper end.
    pub high: f32,
}

impl Span {
    /// No height at all.
    pub const EMPTY: Self = Self {
        low: 1.0,
        high: -1.0,
    };

    /// Part of the slab of thickness `slab` about `z` that the span covers, 0..1.
    #[must_use]
    pub fn cover(self, z: f32, slab: f32) -> f32 {
        let low = self.low.max(z - 0.5 * slab);
        let high = self.high.min(z + 0.5 * slab);
        ((high - low) / slab).max(0.0)
    }

    /// Whether a height lies inside.
    #[must_use]
    pub fn contains(self, z: f32) -> bool {
        z > self.low && z < self.high
    }
}

/// What one pixel of a field holds.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Index of the cell, [`Column::NONE`] outside.
    pub cell: u16,
    /// Distance from the centre of the nucleus over its radius in this direction: 1 at the envelope.
    pub rho: f32,
    /// From 0 at the nuclear envelope to 1 at the free edge of the cell; negative inside.
    pub outward: f32,
    /// Distance to the edge of the cell, pixels (approximate).
    pub edge: f32,
    /// Heights of the nucleus (of the chromosomes in mitosis).
    pub nucleus: Span,
    /// Heights of a nucleolus.
    pub nucleolus: Span,
    /// Height of the cell, um.
    pub top: f32,
}

impl Column {
    /// The cell index of the background.
    pub const NONE: u16 = u16::MAX;

    const BACKGROUND: Self = Self {
        cell: Self::NONE,
        rho: 9.0,
        outward: 9.0,
        edge: 0.0,
        nucleus: Span::EMPTY,
        nucleolus: Span::EMPTY,
        top: 0.0,
    };
}

/// The cells of a field and the map of its pixels.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Columns and rows of the field.
    pub size: usize,
    /// The cells, those beyond the border included.
    pub cells: Vec<Cell>,
    /// One column per pixel, row after row.
    pub columns: Vec<Column>,
}

impl Scene {
    /// Divides a square field of `size` pixels among its cells.
    #[must_use]
    pub fn new(size: usize, cells: Vec<Cell>, rng: &mut Rng) -> Self {
        let mut scene = Self {
            size,
            cells,
            columns: vec![Column::BACKGROUND; size * size],
        };
        let mut second = vec![f32::INFINITY; size * size];
        let warp = [
            smooth_noise(size, size, 9.0, rng),
            smooth_noise(size, size, 9.0, rng),
        ];
        for index in 0..scene.cells.len() {
            scene.claim(index, &mut second, [&warp[0].data, &warp[1].data]);
        }
        scene.finish(&second);
        scene.mark_nucleoli();
        scene
    }

    /// Gives a cell the pixels that are nearer to it than to any earlier cell.
    fn claim(&mut self, index: usize, second: &mut [f32], warp: [&[f32]; 2]) {
        let cell = &self.cells[index];
        let reach = cell.body.reach() + 8.0;
        let (columns, rows) = (
            window(cell.x, reach, self.size),
            window(cell.y, reach, self.size),
        );
        for y in rows {
            for x in columns.clone() {
                let at = y * self.size + x;
                if (x as f32 - cell.x).powi(2) + (y as f32 - cell.y).powi(2) > reach * reach {
                    continue;
                }
                let (angle, r) = cell.polar(x as f32, y as f32);
                let nucleus = cell.nucleus.at(angle);
                // Cell edges are wavy, nuclei are not: the warp grows outwards.
                let beyond = ((r - nucleus) / 12.0).clamp(0.0, 1.0);
                let (wx, wy) = (3.4 * beyond * warp[0][at], 3.4 * beyond * warp[1][at]);
                let (sin, cos) = angle.sin_cos();
                let r = r + wx * cos + wy * sin;
                let outward = (r - nucleus) / (cell.body.at(angle) - nucleus).max(2.0);
                let column = &mut self.columns[at];
                if outward < column.outward.min(1.0) {
                    second[at] = second[at].min(column.outward);
                    let rho = r / nucleus;
                    let nucleus = spheroid(cell.z, cell.half_height, rho);
                    *column = Column {
                        cell: index as u16,
                        rho,
                        outward,
                        edge: 0.0,
                        nucleus,
                        nucleolus: Span::EMPTY,
                        top: 0.0,
                    };
                } else {
                    second[at] = second[at].min(outward);
                }
            }
        }
    }

    /// Distances to the edge, and heights of the cells: thick over the nucleus, thin at the edge.
    fn finish(&mut self, second: &[f32]) {
        for (column, &second) in self.columns.iter_mut().zip(second) {
            let Some(cell) = self.cells.get(usize::from(column.cell)) else {
                continue;
            };
            let width = (cell.body.reach() - cell.nucleus.reach()).max(8.0);
            let margin = (1.0 - column.outward).min(0.5 * (second - column.outward));
            column.edge = margin * width;
            let slope = (column.edge / 9.0).clamp(0.0, 1.0);
            let dome = if column.outward < 0.0 {
                1.0
            } else {
                1.0 - 0.45 * column.outward.min(1.0)
            };
            column.top = cell.top * dome * (0.35 + 0.65 * slope.sqrt());
            if column.nucleus.high > column.nucleus.low {
                column.top = column.top.max(column.nucleus.high + 0.4);
            }
        }
    }

    fn mark_nucleoli(&mut self) {
        for (index, cell) in self.cells.iter().enumerate() {
            for nucleolus in &cell.nucleoli {
                let reach = nucleolus.outline.reach() + 1.0;
                for y in window(nucleolus.y, reach, self.size) {
                    for x in window(nucleolus.x, reach, self.size) {
                        let column = &mut self.columns[y * self.size + x];
                        let (dx, dy) = (x as f32 - nucleolus.x, y as f32 - nucleolus.y);
                        let radius = nucleolus.outline.at(dy.atan2(dx));
                        let span =
                            spheroid(nucleolus.z, 1.05 * radius * PIXEL_UM, dx.hypot(dy) / radius);
                        if usize::from(column.cell) == index && span.high > span.low {
                            let (low, high) = (
                                span.low.max(column.nucleus.low),
                                span.high.min(column.nucleus.high),
                            );
                            column.nucleolus = Span { low, high };
                        }
                    }
                }
            }
        }
    }

    /// The pixel under a point, if it lies in the field.
    #[must_use]
    pub fn column(&self, x: f32, y: f32) -> Option<&Column> {
        let limit = self.size as f32 - 0.5;
        if x < -0.5 || y < -0.5 || x >= limit || y >= limit {
            return None;
        }
        self.columns
            .get((y + 0.5) as usize * self.size + (x + 0.5) as usize)
    }

    /// The label image of the nuclei, `[y, x]`: 0 outside, 1.. for the cells in order.
    #[must_use]
    pub fn nuclei(&self) -> Array2<u16> {
        Array2::from_shape_fn((self.size, self.size), |(y, x)| {
            let column = &self.columns[y * self.size + x];
            if column.cell != Column::NONE && column.rho <= 1.0 {
                column.cell + 1
            } else {
                0
            }
        })
    }
}

/// Heights of a flattened spheroid at relative distance `rho` from its axis.
fn spheroid(z: f32, half_height: f32, rho: f32) -> Span {
    if rho >= 1.0 {
        return Span::EMPTY;
    }
    let half = half_height * (1.0 - rho.powf(2.6)).sqrt();
    Span {
        low: z - half,
        high: z + half,
    }
}

/// The pixels within `reach` of a position, cut at the field.
#[must_use]
pub fn window(position: f32, reach: f32, size: usize) -> std::ops::Range<usize> {
    let low = (position - reach).floor().max(0.0) as usize;
    let high = ((position + reach).ceil() + 1.0).clamp(0.0, size as f32) as usize;
    low.min(high)..high
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::placement::place_cells;

    #[test]
    fn a_span_covers_part_of_a_slab() {
        let span = Span {
            low: 0.0,
            high: 1.0,
        };
        assert_eq!(span.cover(0.5, 0.5), 1.0);
        assert_eq!(span.cover(1.0, 1.0), 0.5);
        assert_eq!(Span::EMPTY.cover(0.0, 1.0), 0.0);
    }

    #[test]
    fn every_nucleus_is_in_one_piece_of_its_own_cell() {
        let mut rng = Rng::new(9, &[]);
        let cells = place_cells(512, 80.0, &mut rng);
        let scene = Scene::new(512, cells, &mut rng);
        let labels = scene.nuclei();
        for (index, cell) in scene.cells.iter().enumerate() {
            if (80.0..430.0).contains(&cell.x) && (80.0..430.0).contains(&cell.y) {
                let pixels = labels
                    .iter()
                    .filter(|&&l| usize::from(l) == index + 1)
                    .count() as f32;
                let area: f32 = (0..360)
                    .map(|d| {
                        0.5 * cell.nucleus.at((d as f32).to_radians()).powi(2) * 1f32.to_radians()
                    })
                    .sum();
                assert!(
                    (pixels / area - 1.0).abs() < 0.12,
                    "cell {index}: {pixels} of {area}"
                );
            }
        }
    }
}
