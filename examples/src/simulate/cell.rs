//! One cell: the shape of its nucleus and body, its place in the cell cycle, its nucleoli.

use std::f32::consts::{PI, TAU};

use super::rng::Rng;

/// Pixel size of the simulated microscope, um: a 63x lens on 13 um pixels, as in OpenCell.
pub const PIXEL_UM: f32 = 0.206;

const ANGLES: usize = 128;

/// A closed outline that is star-shaped about its centre: a radius in pixels for every direction.
#[derive(Debug, Clone)]
pub struct Outline {
    radius: [f32; ANGLES],
}

impl Outline {
    /// An ellipse with axes `radius * sqrt(aspect)` and `radius / sqrt(aspect)`, roughened by low harmonics.
    #[must_use]
    pub fn rough_ellipse(
        radius: f32,
        aspect: f32,
        rotation: f32,
        roughness: f32,
        rng: &mut Rng,
    ) -> Self {
        let harmonics: Vec<(f32, f32)> = (2..=6)
            .map(|k| {
                (
                    roughness * rng.normal() / (k as f32 - 0.5).powf(0.8),
                    rng.range(0.0, TAU),
                )
            })
            .collect();
        let (long, short) = (radius * aspect.sqrt(), radius / aspect.sqrt());
        let at = |i: usize| {
            let angle = TAU * i as f32 / ANGLES as f32;
            let (sin, cos) = (angle - rotation).sin_cos();
            let ellipse = long * short / (short * cos).hypot(long * sin);
            let wave: f32 = harmonics
                .iter()
                .zip(2u8..)
                .map(|(&(a, p), k)| a * (f32::from(k) * angle + p).cos())
                .sum();
            ellipse * (1.0 + wave).clamp(0.6, 1.4)
        };
        Self {
            radius: std::array::from_fn(at),
        }
    }

    /// This outline, further out by `distance` pixels times a factor that varies with direction.
    #[must_use]
    pub fn grown(&self, distance: f32, roughness: f32, rng: &mut Rng) -> Self {
        let factor =
            Self::rough_ellipse(1.0, rng.range(1.0, 1.9), rng.range(0.0, PI), roughness, rng);
        Self {
            radius: std::array::from_fn(|i| self.radius[i] + distance * factor.radius[i]),
        }
    }

    /// Radius in the direction `angle` (radians).
    #[must_use]
    pub fn at(&self, angle: f32) -> f32 {
        let position = (angle / TAU).rem_euclid(1.0) * ANGLES as f32;
        let low = position as usize % ANGLES;
        let fraction = position - position.floor();
        self.radius[low] + fraction * (self.radius[(low + 1) % ANGLES] - self.radius[low])
    }

    /// The largest radius.
    #[must_use]
    pub fn reach(&self) -> f32 {
        self.radius.iter().copied().fold(0.0, f32::max)
    }
}

/// Where a cell stands in its cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before replication.
    G1,
    /// Replicating.
    S,
    /// After replication: the largest nuclei.
    G2,
    /// Metaphase: no nuclear envelope, the chromosomes in a plate.
    Mitosis,
}

impl Phase {
    /// A phase drawn as in an unsynchronised culture.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.uniform() {
            u if u < 0.50 => Self::G1,
            u if u < 0.74 => Self::S,
            u if u < 0.97 => Self::G2,
            _ => Self::Mitosis,
        }
    }

    fn nuclear_area(self) -> f32 {
        match self {
            Self::G1 => 0.9,
            Self::S => 1.05,
            Self::G2 => 1.2,
            Self::Mitosis => 0.45,
        }
    }
}

/// A nucleolus: an ellipsoid inside the nucleus.
#[derive(Debug, Clone)]
pub struct Nucleolus {
    /// Centre, pixels.
    pub x: f32,
    /// Centre, pixels.
    pub y: f32,
    /// Height of the centre above the glass, um.
    pub z: f32,
    /// Outline in the plane.
    pub outline: Outline,
}

/// A cell.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Centre of the nucleus, pixels.
    pub x: f32,
    /// Centre of the nucleus, pixels.
    pub y: f32,
    /// Height of the centre of the nucleus, um.
    pub z: f32,
    /// Half the height of the nucleus, um.
    pub half_height: f32,
    /// Outline of the nucleus; of the chromosomes in mitosis.
    pub nucleus: Outline,
    /// Outline of the cell where no neighbour is in the way.
    pub body: Outline,
    /// Height of the cell above its nucleus, um.
    pub top: f32,
    /// Place in the cell cycle.
    pub phase: Phase,
    /// Direction of the centrosome from the centre of the nucleus, radians.
    pub centrosome: f32,
    /// Level of the tagged protein relative to the other cells of the field.
    pub expression: f32,
    /// Level of the DNA stain relative to the other cells of the field.
    pub stain: f32,
    /// Nucleoli; none in mitosis.
    pub nucleoli: Vec<Nucleolus>,
}

impl Cell {
    /// A cell of the given phase at a place, with everything else drawn at random.
    #[must_use]
    pub fn draw(x: f32, y: f32, phase: Phase, rng: &mut Rng) -> Self {
        let mitotic = phase == Phase::Mitosis;
        let radius = 34.0 * phase.nuclear_area().sqrt() * rng.log_normal(0.09);
        let (aspect, roughness) = if mitotic {
            (rng.range(1.9, 2.8), 0.03)
        } else {
            (1.0 + 0.5 * rng.uniform().powi(2) + 0.08, 0.035)
        };
        let nucleus = Outline::rough_ellipse(radius, aspect, rng.range(0.0, PI), roughness, rng);
        // Bodies overlap on purpose: neighbours share the space between them.
        let (width, unevenness) = if mitotic {
            (22.0, 0.05)
        } else {
            (33.0 * rng.log_normal(0.28), 0.2)
        };
        let body = nucleus.grown(width, unevenness, rng);
        let half_height = if mitotic {
            rng.range(3.4, 4.2)
        } else {
            rng.range(2.7, 3.8)
        };
        let z = half_height + rng.range(0.7, 1.3);
        let mut cell = Self {
            x,
            y,
            z,
            half_height,
            nucleus,
            body,
            top: z + half_height + rng.range(0.5, 1.2),
            phase,
            centrosome: rng.range(0.0, TAU),
            expression: expression(rng),
            stain: rng.log_normal(0.16) * if mitotic { 1.7 } else { 1.0 },
            nucleoli: Vec::new(),
        };
        if !mitotic {
            cell.draw_nucleoli(rng);
        }
        cell
    }

    fn draw_nucleoli(&mut self, rng: &mut Rng) {
        let count = 1 + rng.below(4);
        let volume = rng.range(0.7, 1.2);
        for _ in 0..4 * count {
            if self.nucleoli.len() == count {
                break;
            }
            let angle = rng.range(0.0, TAU);
            let distance = 0.62 * self.nucleus.at(angle) * rng.uniform().sqrt();
            let radius = 9.5 * volume * rng.range(0.6, 1.1) / (count as f32).powf(0.4);
            let (x, y) = (
                self.x + distance * angle.cos(),
                self.y + distance * angle.sin(),
            );
            let free = |n: &Nucleolus| (n.x - x).hypot(n.y - y) > n.outline.reach() + radius + 1.0;
            if self.nucleoli.iter().all(free) {
                let z = self.z + rng.range(-0.25, 0.25) * self.half_height;
                let outline = Outline::rough_ellipse(
                    radius,
                    rng.range(1.0, 1.6),
                    rng.range(0.0, PI),
                    0.08,
                    rng,
                );
                self.nucleoli.push(Nucleolus { x, y, z, outline });
            }
        }
    }

    /// Whether the cell has a nuclear envelope.
    #[must_use]
    pub fn has_nucleus(&self) -> bool {
        self.phase != Phase::Mitosis
    }

    /// Direction and distance of a point from the centre of the nucleus.
    #[must_use]
    pub fn polar(&self, x: f32, y: f32) -> (f32, f32) {
        let (dx, dy) = (x - self.x, y - self.y);
        (dy.atan2(dx), dx.hypot(dy))
    }
}

/// Cell-to-cell variation of a tagged protein: log-normal, with a few cells that hardly express it.
fn expression(rng: &mut Rng) -> f32 {
    let level = rng.log_normal(0.28);
    if rng.chance(0.04) {
        0.25 * level
    } else {
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ellipse_has_its_axes() {
        let outline = Outline::rough_ellipse(30.0, 1.44, 0.0, 0.0, &mut Rng::new(1, &[]));
        assert!((outline.at(0.0) - 36.0).abs() < 1e-3);
        assert!((outline.at(PI / 2.0) - 25.0).abs() < 1e-3);
        assert!((outline.at(-PI) - outline.at(PI)).abs() < 1e-3);
    }

    #[test]
    fn nucleoli_lie_inside_the_nucleus() {
        for seed in 0..50 {
            let cell = Cell::draw(0.0, 0.0, Phase::G1, &mut Rng::new(seed, &[]));
            for n in &cell.nucleoli {
                let (angle, distance) = cell.polar(n.x, n.y);
                assert!(distance < 0.7 * cell.nucleus.at(angle));
            }
        }
    }
}
