//! The stained specimen in three dimensions, before the microscope sees it.

use super::cell::{Cell, PIXEL_UM};
use super::optics::{SIGMA_XY, SIGMA_Z};
use super::plane::{Plane, smooth_noise};
use super::rng::Rng;
use super::scene::{Column, Scene, Span, window};

/// Height up to which a specimen can reach, um.
pub const TOP_UM: f32 = 10.0;

/// A random texture in three dimensions: two smooth planes that turn into each other with height.
///
/// `cos(z / period) a + sin(z / period) b` is a stationary Gaussian field of unit variance in every slice.
#[derive(Debug, Clone)]
pub struct Texture {
    planes: [Plane; 2],
    period: f32,
}

impl Texture {
    /// A texture with a correlation length of `sigma` pixels in the plane and about `period` um in height.
    #[must_use]
    pub fn new(size: usize, sigma: f32, period: f32, rng: &mut Rng) -> Self {
        Self {
            planes: [
                smooth_noise(size, size, sigma, rng),
                smooth_noise(size, size, sigma, rng),
            ],
            period,
        }
    }

    fn at(&self, turn: (f32, f32), index: usize) -> f32 {
        turn.1 * self.planes[0].data[index] + turn.0 * self.planes[1].data[index]
    }
}

/// What a voxel holds; the parts are fractions 0..1 of its height.
#[derive(Debug, Clone, Copy)]
pub struct Voxel<'a> {
    /// The cell.
    pub cell: &'a Cell,
    /// The column it belongs to.
    pub column: &'a Column,
    /// Number of the pixel, row after row.
    pub index: usize,
    /// Height, um.
    pub z: f32,
    /// Thickness, um.
    pub slab: f32,
    /// Part inside the nuclear envelope (none in mitosis).
    pub nucleus: f32,
    /// Part among the chromosomes: the nucleus, or the metaphase plate.
    pub chromosomes: f32,
    /// Part in a nucleolus.
    pub nucleolus: f32,
    /// Part in the cytoplasm.
    pub cytoplasm: f32,
}

impl<'a> Voxel<'a> {
    fn of(scene: &'a Scene, column: &'a Column, index: usize, z: f32, slab: f32) -> Self {
        let cell = &scene.cells[usize::from(column.cell)];
        let chromosomes = column.nucleus.cover(z, slab);
        let body = Span {
            low: 0.0,
            high: column.top,
        }
        .cover(z, slab);
        Self {
            cell,
            column,
            index,
            z,
            slab,
            nucleus: if cell.has_nucleus() { chromosomes } else { 0.0 },
            chromosomes,
            nucleolus: column.nucleolus.cover(z, slab),
            cytoplasm: (body - chromosomes).max(0.0),
        }
    }
}

/// Densities `[slices, size, size]`.
///
/// Units: 1 is the density whose image is as bright as a thick uniform object of density 1, whatever the object's size;
/// [`Volume::point`] and [`Volume::line`] give thin objects that brightness at their peak.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Columns and rows.
    pub size: usize,
    /// Distance of the slices, um; the first is half a distance above the glass.
    pub spacing: f32,
    /// The slices, the lowest first.
    pub slices: Vec<Vec<f32>>,
}

impl Volume {
    /// An empty specimen.
    #[must_use]
    pub fn new(size: usize, spacing: f32) -> Self {
        let depth = (TOP_UM / spacing).ceil() as usize;
        Self {
            size,
            spacing,
            slices: vec![vec![0.0; size * size]; depth],
        }
    }

    /// Height of slice `k`, um.
    #[must_use]
    pub fn height(&self, k: usize) -> f32 {
        (k as f32 + 0.5) * self.spacing
    }

    /// Adds `density(voxel, textures at the voxel)` to every voxel inside a cell.
    pub fn fill<const N: usize>(
        &mut self,
        scene: &Scene,
        textures: [&Texture; N],
        density: impl Fn(&Voxel, [f32; N]) -> f32,
    ) {
        let (size, slab) = (self.size, self.spacing);
        let heights: Vec<f32> = (0..self.slices.len()).map(|k| self.height(k)).collect();
        // Row by row, so that a row's columns and textures stay in the cache for all slices.
        for (y, columns) in scene.columns.chunks_exact(size).enumerate() {
            for (slice, &z) in self.slices.iter_mut().zip(&heights) {
                let turns = textures.map(|t| (z / t.period).sin_cos());
                for (x, (value, column)) in slice[y * size..][..size]
                    .iter_mut()
                    .zip(columns)
                    .enumerate()
                {
                    if column.top <= z - 0.5 * slab || column.cell == Column::NONE {
                        continue;
                    }
                    let index = y * size + x;
                    let voxel = Voxel::of(scene, column, index, z, slab);
                    *value += density(
                        &voxel,
                        std::array::from_fn(|t| textures[t].at(turns[t], index)),
                    );
                }
            }
        }
    }

    /// Adds a thin object of brightness `amount` at a point (pixels, pixels, um), shared among the eight nearest voxels.
    pub fn deposit(&mut self, [x, y, z]: [f32; 3], amount: f32) {
        let level = z / self.spacing - 0.5;
        let (k, fz) = (level.floor(), level - level.floor());
        let (fx, fy) = (x - x.floor(), y - y.floor());
        for (dk, wz) in [(0.0, 1.0 - fz), (1.0, fz)] {
            let Some(slice) = slice_at(&mut self.slices, k + dk) else {
                continue;
            };
            for (dy, wy) in [(0.0, 1.0 - fy), (1.0, fy)] {
                for (dx, wx) in [(0.0, 1.0 - fx), (1.0, fx)] {
                    let (px, py) = (x.floor() + dx, y.floor() + dy);
                    if px >= 0.0 && py >= 0.0 && px < self.size as f32 && py < self.size as f32 {
                        slice[py as usize * self.size + px as usize] += amount * wx * wy * wz;
                    }
                }
            }
        }
    }

    /// The amount to deposit at one point for a peak brightness of 1.
    #[must_use]
    pub fn point(&self) -> f32 {
        std::f32::consts::TAU * SIGMA_XY * SIGMA_XY / self.axial()
    }

    /// The amount to deposit every `step` pixels along a curve for a peak brightness of 1.
    #[must_use]
    pub fn line(&self, step: f32) -> f32 {
        step * std::f32::consts::TAU.sqrt() * SIGMA_XY / self.axial()
    }

    fn axial(&self) -> f32 {
        (self.spacing / (std::f32::consts::TAU.sqrt() * SIGMA_Z)).min(1.0)
    }

    /// Adds a ball of density `amount` and radius `radius` pixels; hollow inside `inner` pixels.
    pub fn ball(&mut self, [x, y, z]: [f32; 3], radius: f32, inner: f32, amount: f32) {
        let (columns, rows) = (
            window(x, radius + 1.0, self.size),
            window(y, radius + 1.0, self.size),
        );
        for (k, slice) in self.slices.iter_mut().enumerate() {
            let height = (k as f32 + 0.5) * self.spacing;
            if (height - z).abs() > radius * PIXEL_UM + self.spacing {
                continue;
            }
            for py in rows.clone() {
                for px in columns.clone() {
                    let distance = (px as f32 - x).hypot(py as f32 - y);
                    let outer = chord(z, radius, distance).cover(height, self.spacing);
                    let hole = if inner > 0.0 {
                        chord(z, inner, distance).cover(height, self.spacing)
                    } else {
                        0.0
                    };
                    slice[py * self.size + px] += amount * (outer - hole).max(0.0);
                }
            }
        }
    }

    /// Adds `weight` times another specimen of the same shape.
    pub fn add(&mut self, other: &Self, weight: f32) {
        for (into, from) in self.slices.iter_mut().zip(&other.slices) {
            into.iter_mut()
                .zip(from)
                .for_each(|(a, b)| *a += weight * b);
        }
    }
}

fn slice_at(slices: &mut [Vec<f32>], k: f32) -> Option<&mut Vec<f32>> {
    if k < 0.0 {
        None
    } else {
        slices.get_mut(k as usize)
    }
}

/// Heights of a ball above a point at `distance` pixels from its centre.
fn chord(z: f32, radius: f32, distance: f32) -> Span {
    let square = radius * radius - distance * distance;
    if square <= 0.0 {
        return Span::EMPTY;
    }
    let half = square.sqrt() * PIXEL_UM;
    Span {
        low: z - half,
        high: z + half,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deposit_is_kept_whole_inside_the_specimen() {
        let mut volume = Volume::new(16, 0.5);
        volume.deposit([7.3, 8.8, 4.1], 2.0);
        let sum: f32 = volume.slices.iter().flatten().sum();
        assert!((sum - 2.0).abs() < 1e-5);
        volume.deposit([-5.0, 3.0, 40.0], 2.0);
        assert!((volume.slices.iter().flatten().sum::<f32>() - 2.0).abs() < 1e-5);
    }

    #[test]
    fn a_ball_has_its_volume() {
        let mut volume = Volume::new(64, 0.5);
        volume.ball([32.0, 32.0, 5.0], 8.0, 0.0, 1.0);
        let sum: f32 = volume.slices.iter().flatten().sum::<f32>() * volume.spacing / PIXEL_UM;
        let expected = 4.0 / 3.0 * std::f32::consts::PI * 512.0;
        assert!((sum / expected - 1.0).abs() < 0.03, "{sum} of {expected}");
    }
}
