//! The microscope: point spread with defocus, out-of-focus haze, uneven light.

use super::plane::Plane;
use super::rng::Rng;
use super::volume::Volume;

/// Width of the point spread in focus, pixels (0.17 um: a spinning disk at NA 1.4 with some blur of the live specimen).
pub const SIGMA_XY: f32 = 0.85;
/// Depth of the point spread, um.
pub const SIGMA_Z: f32 = 0.55;

/// Growth of the lateral width with distance from focus, pixels per um.
const DEFOCUS: f32 = 1.7;
/// Growth of the width with depth in the specimen (the refractive index does not match), pixels per um.
const ABERRATION: f32 = 0.035;

/// How one field is seen.
#[derive(Debug, Clone)]
pub struct Optics {
    /// Heights of the slices of the stack, um above the glass.
    pub heights: Vec<f32>,
    /// Light that passes the pinhole from everywhere else in the specimen, as part of the light in focus.
    pub haze: f32,
}

impl Optics {
    /// Images of a specimen at every height of the stack.
    #[must_use]
    pub fn image(&self, specimen: &Volume) -> Vec<Plane> {
        let haze = self.haze_of(specimen);
        self.heights
            .iter()
            .map(|&z| self.slice(specimen, z, &haze))
            .collect()
    }

    fn slice(&self, specimen: &Volume, z: f32, haze: &Plane) -> Plane {
        let mut near = Plane::filled(specimen.size, specimen.size, 0.0);
        let mut far = near.clone();
        let weight = |k: usize| (-0.5 * ((specimen.height(k) - z) / SIGMA_Z).powi(2)).exp();
        let total: f32 = (0..specimen.slices.len()).map(weight).sum();
        let in_focus = 0.6 * SIGMA_Z + 0.5 * specimen.spacing;
        for (k, slice) in specimen.slices.iter().enumerate() {
            let part = weight(k) / total.max(0.3);
            if part < 0.01 {
                continue;
            }
            let sharp = (specimen.height(k) - z).abs() <= in_focus;
            let into = if sharp { &mut near } else { &mut far };
            into.data
                .iter_mut()
                .zip(slice)
                .for_each(|(a, b)| *a += part * b);
        }
        let width = SIGMA_XY + ABERRATION * z.max(0.0);
        let mut out = near.blurred(width);
        let far = far.blurred(width.hypot(DEFOCUS * 1.5 * SIGMA_Z));
        for ((out, far), haze) in out.data.iter_mut().zip(&far.data).zip(&haze.data) {
            *out += far + self.haze * haze;
        }
        out
    }

    /// The whole specimen out of focus.
    fn haze_of(&self, specimen: &Volume) -> Plane {
        let mut sum = Plane::filled(specimen.size, specimen.size, 0.0);
        for slice in &specimen.slices {
            sum.data.iter_mut().zip(slice).for_each(|(a, b)| *a += b);
        }
        let scale = specimen.spacing / 4.0;
        sum.data.iter_mut().for_each(|v| *v *= scale);
        sum.blurred(11.0)
    }
}

/// Uneven light: brightest near a point of the field, falling off as a parabola.
#[derive(Debug, Clone)]
pub struct Illumination {
    centre: [f32; 2],
    fall: f32,
}

impl Illumination {
    /// Light with its centre near the middle and 10 to 35 % less in the far corners.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            centre: [rng.range(0.35, 0.65), rng.range(0.35, 0.65)],
            fall: rng.range(0.2, 0.55),
        }
    }

    /// Light at a pixel of a field of `size` pixels, 1 at the centre.
    #[must_use]
    pub fn at(&self, x: usize, y: usize, size: usize) -> f32 {
        let (u, v) = (
            x as f32 / size as f32 - self.centre[0],
            y as f32 / size as f32 - self.centre[1],
        );
        1.0 - self.fall * (u * u + v * v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_and_a_slab_are_about_equally_bright() {
        let optics = Optics {
            heights: vec![5.25],
            haze: 0.0,
        };
        let mut point = Volume::new(41, 0.5);
        let amount = point.point();
        point.deposit([20.0, 20.0, 5.25], amount);
        let mut slab = Volume::new(41, 0.5);
        slab.slices.iter_mut().flatten().for_each(|v| *v = 1.0);
        let peak = |v: &Volume| optics.image(v)[0].data[20 * 41 + 20];
        assert!((peak(&slab) - 1.0).abs() < 0.05, "{}", peak(&slab));
        assert!((0.5..1.2).contains(&peak(&point)), "{}", peak(&point));
    }

    #[test]
    fn out_of_focus_is_dimmer_and_wider() {
        let mut point = Volume::new(41, 0.5);
        point.deposit([20.0, 20.0, 5.25], 1.0);
        let planes = Optics {
            heights: vec![5.25, 6.25],
            haze: 0.0,
        }
        .image(&point);
        let ratio = |p: &Plane| p.data[20 * 41 + 23] / p.data[20 * 41 + 20];
        assert!(planes[1].data[20 * 41 + 20] < 0.5 * planes[0].data[20 * 41 + 20]);
        assert!(ratio(&planes[1]) > ratio(&planes[0]));
    }
}
