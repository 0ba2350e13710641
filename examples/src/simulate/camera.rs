//! The camera and the plate: photons to 16-bit counts, with what differs from one plate to the next.

use super::optics::Illumination;
use super::plane::Plane;
use super::rng::Rng;

/// What all fields of one plate share.
#[derive(Debug, Clone)]
pub struct Plate {
    /// Name, e.g. `plate01`.
    pub name: String,
    /// Protein and DNA light.
    pub light: [Illumination; 2],
    /// Brightness of the protein channel and of the DNA stain on this plate relative to the others.
    pub brightness: [f32; 2],
    /// Background photons per pixel of the two channels: medium, glass, autofluorescence.
    pub background: [f32; 2],
    /// The camera.
    pub camera: Camera,
}

impl Plate {
    /// Plate number `index` of a data set.
    #[must_use]
    pub fn draw(index: usize, rng: &mut Rng) -> Self {
        Self {
            name: format!("plate{:02}", index + 1),
            light: [Illumination::draw(rng), Illumination::draw(rng)],
            brightness: [rng.log_normal(0.18), rng.log_normal(0.15)],
            background: [rng.range(5.0, 14.0), rng.range(4.0, 12.0)],
            camera: Camera {
                gain: 2.2 * rng.log_normal(0.06),
                offset: rng.range(98.0, 112.0),
                read_noise: 1.6,
            },
        }
    }
}

/// A scientific CMOS camera.
#[derive(Debug, Clone)]
pub struct Camera {
    /// Counts per electron.
    pub gain: f32,
    /// Counts in the dark.
    pub offset: f32,
    /// Standard deviation of the read noise, electrons.
    pub read_noise: f32,
}

impl Camera {
    /// Counts for a plane of expected photons; consumes random numbers pixel by pixel.
    pub fn expose(&self, photons: &Plane, rng: &mut Rng, counts: &mut [u16]) {
        let width = photons.width;
        let mut read = vec![0.0; width];
        for (row, counts) in photons
            .data
            .chunks_exact(width)
            .zip(counts.chunks_exact_mut(width))
        {
            rng.fill_normal(&mut read);
            for ((count, &mean), &noise) in counts.iter_mut().zip(row).zip(&read) {
                let electrons = rng.poisson(mean.max(0.0)) + self.read_noise * noise;
                // The cast saturates at 0 and 65535, as the converter does.
                *count = (self.offset + self.gain * electrons + 0.5) as u16;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_the_photon_transfer_curve() {
        let camera = Camera {
            gain: 2.0,
            offset: 100.0,
            read_noise: 1.5,
        };
        let mut counts = vec![0; 300 * 300];
        camera.expose(
            &Plane::filled(300, 300, 50.0),
            &mut Rng::new(1, &[]),
            &mut counts,
        );
        let n = counts.len() as f64;
        let mean = counts.iter().map(|&c| f64::from(c)).sum::<f64>() / n;
        let variance = counts
            .iter()
            .map(|&c| (f64::from(c) - mean).powi(2))
            .sum::<f64>()
            / n;
        assert!((mean - 200.0).abs() < 0.5, "{mean}");
        // gain^2 (photons + read noise^2) = 4 (50 + 2.25)
        assert!((variance / 209.0 - 1.0).abs() < 0.03, "{variance}");
    }
}
