//! Two-dimensional images of the simulator and their smoothing.

use super::rng::Rng;

/// An image `[h, w]` of f32, row after row.
#[derive(Debug, Clone)]
pub struct Plane {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The pixels.
    pub data: Vec<f32>,
}

impl Plane {
    /// A plane of one value.
    #[must_use]
    pub fn filled(width: usize, height: usize, value: f32) -> Self {
        Self {
            width,
            height,
            data: vec![value; width * height],
        }
    }

    /// Gaussian blur with standard deviation `sigma` in pixels; the border is continued by its nearest pixel.
    ///
    /// A kernel wider than 4 pixels works on a plane reduced by an integer factor, where the difference is invisible.
    #[must_use]
    pub fn blurred(&self, sigma: f32) -> Self {
        if sigma < 0.3 {
            return self.clone();
        }
        let factor = (sigma / 2.0) as usize;
        if factor < 2 {
            return convolve(self, &gaussian(sigma));
        }
        let reduced = self.reduced(factor);
        // Reducing and enlarging widen the kernel by about (f^2 - 1) / 12 and f^2 / 6.
        let f2 = (factor * factor) as f32;
        let rest = (sigma * sigma - (f2 - 1.0) / 12.0 - f2 / 6.0)
            .max(0.1)
            .sqrt()
            / factor as f32;
        convolve(&reduced, &gaussian(rest)).enlarged(self.width, self.height, factor)
    }

    /// Means over blocks of `factor` pixels; the last block of a row or column may be smaller.
    #[must_use]
    pub fn reduced(&self, factor: usize) -> Self {
        let (w, h) = (self.width.div_ceil(factor), self.height.div_ceil(factor));
        let mut out = Self::filled(w, h, 0.0);
        for (y, row) in self.data.chunks_exact(self.width).enumerate() {
            let target = &mut out.data[y / factor * w..][..w];
            for (sum, block) in target.iter_mut().zip(row.chunks(factor)) {
                *sum += block.iter().sum::<f32>() / block.len() as f32;
            }
        }
        for (y, row) in out.data.chunks_exact_mut(w).enumerate() {
            let rows = factor.min(self.height - y * factor) as f32;
            row.iter_mut().for_each(|v| *v /= rows);
        }
        out
    }

    /// Bilinear enlargement of a plane made by [`Plane::reduced`].
    #[must_use]
    pub fn enlarged(&self, width: usize, height: usize, factor: usize) -> Self {
        let taps: Vec<(usize, usize, f32)> =
            (0..width).map(|x| tap(x, factor, self.width)).collect();
        let mut out = Self::filled(width, height, 0.0);
        for (y, row) in out.data.chunks_exact_mut(width).enumerate() {
            let (y0, y1, fy) = tap(y, factor, self.height);
            let upper = &self.data[y0 * self.width..][..self.width];
            let lower = &self.data[y1 * self.width..][..self.width];
            for (value, &(x0, x1, fx)) in row.iter_mut().zip(&taps) {
                let top = upper[x0] + fx * (upper[x1] - upper[x0]);
                let bottom = lower[x0] + fx * (lower[x1] - lower[x0]);
                *value = top + fy * (bottom - top);
            }
        }
        out
    }
}

/// A Gaussian random field of unit variance whose correlation length is about `sigma` pixels.
#[must_use]
pub fn smooth_noise(width: usize, height: usize, sigma: f32, rng: &mut Rng) -> Plane {
    let factor = ((sigma / 2.0) as usize).max(1);
    let (w, h) = (width.div_ceil(factor) + 1, height.div_ceil(factor) + 1);
    let mut noise = Plane::filled(w, h, 0.0);
    rng.fill_normal(&mut noise.data);
    let mut noise = convolve(&noise, &gaussian((sigma / factor as f32).max(0.3)));
    let energy: f64 = noise
        .data
        .iter()
        .map(|&v| f64::from(v) * f64::from(v))
        .sum();
    let scale = (noise.data.len() as f64 / energy.max(1e-12)).sqrt() as f32;
    noise.data.iter_mut().for_each(|v| *v *= scale);
    if factor == 1 {
        cropped(&noise, width, height)
    } else {
        noise.enlarged(width, height, factor)
    }
}

fn cropped(plane: &Plane, width: usize, height: usize) -> Plane {
    let rows = plane.data.chunks_exact(plane.width).take(height);
    Plane {
        width,
        height,
        data: rows.flat_map(|row| row[..width].iter().copied()).collect(),
    }
}

fn tap(position: usize, factor: usize, n: usize) -> (usize, usize, f32) {
    let at = ((position as f32 + 0.5) / factor as f32 - 0.5).clamp(0.0, (n - 1) as f32);
    let low = at as usize;
    (low, (low + 1).min(n - 1), at - low as f32)
}

/// Half of a normalised Gaussian kernel: the centre first.
fn gaussian(sigma: f32) -> Vec<f32> {
    let radius = (3.0 * sigma).ceil().max(1.0) as usize;
    let half: Vec<f32> = (0..=radius)
        .map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp())
        .collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f32>();
    half.into_iter().map(|v| v / sum).collect()
}

/// Separable convolution with a symmetric kernel given by its half.
fn convolve(plane: &Plane, half: &[f32]) -> Plane {
    let (w, h, radius) = (plane.width, plane.height, half.len() - 1);
    let mut across = Plane::filled(w, h, 0.0);
    let mut padded = vec![0.0; w + 2 * radius];
    for (row, out) in plane
        .data
        .chunks_exact(w)
        .zip(across.data.chunks_exact_mut(w))
    {
        padded[..radius].fill(row[0]);
        padded[radius..radius + w].copy_from_slice(row);
        padded[radius + w..].fill(row[w - 1]);
        weigh(out, half[0], &padded[radius..], &padded[radius..], true);
        for (k, &weight) in half.iter().enumerate().skip(1) {
            weigh(
                out,
                weight,
                &padded[radius - k..],
                &padded[radius + k..],
                false,
            );
        }
    }
    let mut out = Plane::filled(w, h, 0.0);
    for (y, row) in out.data.chunks_exact_mut(w).enumerate() {
        let line = |at: usize| &across.data[at * w..][..w];
        weigh(row, half[0], line(y), line(y), true);
        for (k, &weight) in half.iter().enumerate().skip(1) {
            weigh(
                row,
                weight,
                line(y.saturating_sub(k)),
                line((y + k).min(h - 1)),
                false,
            );
        }
    }
    out
}

/// `out += weight * (a + b)`, or `out = weight * a` for the centre of the kernel.
fn weigh(out: &mut [f32], weight: f32, a: &[f32], b: &[f32], centre: bool) {
    if centre {
        out.iter_mut().zip(a).for_each(|(o, a)| *o = weight * a);
    } else {
        out.iter_mut()
            .zip(a.iter().zip(b))
            .for_each(|(o, (a, b))| *o += weight * (a + b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(plane: &Plane) -> (f32, f32) {
        let total: f32 = plane.data.iter().sum();
        let centre = (plane.width / 2) as f32;
        let second: f32 = plane
            .data
            .iter()
            .enumerate()
            .map(|(i, v)| v * ((i % plane.width) as f32 - centre).powi(2))
            .sum();
        (total, (second / total).sqrt())
    }

    #[test]
    fn a_blur_keeps_the_light_and_has_its_width() {
        for sigma in [0.7, 1.5, 3.9, 8.0, 14.0] {
            let mut point = Plane::filled(161, 161, 0.0);
            point.data[80 * 161 + 80] = 1.0;
            let (total, width) = spread(&point.blurred(sigma));
            assert!((total - 1.0).abs() < 0.02, "{sigma}: {total}");
            assert!((width / sigma - 1.0).abs() < 0.06, "{sigma}: {width}");
        }
    }

    #[test]
    fn reduction_takes_means_at_ragged_edges() {
        let plane = Plane {
            width: 3,
            height: 3,
            data: (1u8..=9).map(f32::from).collect(),
        };
        assert_eq!(plane.reduced(2).data, [3.0, 4.5, 7.5, 9.0]);
    }

    #[test]
    fn noise_has_unit_variance() {
        let noise = smooth_noise(200, 170, 6.0, &mut Rng::new(3, &[]));
        let variance = noise.data.iter().map(|v| v * v).sum::<f32>() / noise.data.len() as f32;
        assert!((0.6..1.3).contains(&variance), "{variance}");
    }
}
