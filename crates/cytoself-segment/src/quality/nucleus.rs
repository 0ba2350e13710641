//! Measurements of every nucleus of a field.

use std::f64::consts::PI;

use ndarray::{Array2, ArrayView2};

use super::outlier::{median, outlier_scores};
use super::shape::solidity;
use super::{QualityFlags, QualityLimits, saturation_level};
use crate::error::{SegmentError, check_image, check_shape};
use crate::filter::gaussian;
use crate::label::{Region, regions};

/// Width of the ring around a nucleus from which its background is taken, in pixels.
const RING: usize = 4;

/// Size, shape, brightness and sharpness of one nucleus.
#[derive(Debug, Clone, PartialEq)]
pub struct NucleusQuality {
    /// Its label.
    pub label: u32,
    /// Pixels.
    pub area: f64,
    /// 0 for a circle, towards 1 for a line.
    pub eccentricity: f64,
    /// Area over the area of the convex hull.
    pub solidity: f64,
    /// Mean intensity above the ring around it.
    pub brightness: f64,
    /// Standard deviation of the intensity inside over `brightness`.
    pub texture: f64,
    /// Width in pixels over which the intensity falls at the outline: brightness over mean gradient. Grows out of focus.
    pub edge_width: f64,
    /// Share of its pixels at the clipping level of the image.
    pub saturation: f64,
    /// Distance from the usual nucleus of the field: see [`super::outlier_scores`].
    pub outlier: f64,
    /// What is wrong with it.
    pub flags: QualityFlags,
}

impl NucleusQuality {
    /// Diameter of the circle of equal area.
    #[must_use]
    pub fn diameter(&self) -> f64 {
        2.0 * (self.area / PI).sqrt()
    }
}

/// Measures the nuclei of a field, in ascending order of label, and flags those beyond the limits.
///
/// The outlier score compares log area, eccentricity, solidity, log brightness and texture with the other nuclei of the
/// same field.
///
/// **Shapes** `image: [h, w]` (DNA stain), `labels: [h, w]`.
///
/// # Errors
/// - [`SegmentError::EmptyImage`], [`SegmentError::NotFinite`]: the image is empty or has such a pixel;
/// - [`SegmentError::ShapeMismatch`]: the two differ in shape.
pub fn assess_nuclei(
    image: ArrayView2<'_, f32>,
    labels: ArrayView2<'_, u32>,
    limits: &QualityLimits,
) -> Result<Vec<NucleusQuality>, SegmentError> {
    check_image(image)?;
    check_shape("labels", image.shape(), labels.shape())?;
    let smooth = gaussian(image.mapv(f64::from).view(), 1.0);
    let clipped = saturation_level(image);
    let found = regions(labels);
    let measure = |r: &Region| measure(image, smooth.view(), labels, r, clipped);
    let mut nuclei: Vec<NucleusQuality> = found.iter().map(measure).collect();
    let features = Array2::from_shape_fn((nuclei.len(), 5), |(i, f)| nuclei[i].feature(f));
    for (nucleus, score) in nuclei.iter_mut().zip(outlier_scores(features.view())) {
        nucleus.outlier = score;
    }
    let usual = [
        median(nuclei.iter().map(|n| n.area).collect()),
        median(nuclei.iter().map(|n| n.brightness).collect()),
    ];
    for (nucleus, region) in nuclei.iter_mut().zip(&found) {
        nucleus.flags = QualityFlags::of(nucleus, region.touches_edge, usual, limits);
    }
    Ok(nuclei)
}

impl NucleusQuality {
    fn feature(&self, index: usize) -> f64 {
        match index {
            0 => self.area.ln(),
            1 => self.eccentricity,
            2 => self.solidity,
            3 => self.brightness.max(1e-6).ln(),
            _ => self.texture,
        }
    }
}

fn measure(
    image: ArrayView2<'_, f32>,
    smooth: ArrayView2<'_, f64>,
    labels: ArrayView2<'_, u32>,
    region: &Region,
    clipped: Option<f32>,
) -> NucleusQuality {
    let sums = Sums::over(image, smooth, labels, region, clipped);
    let brightness = sums.inside.mean() - sums.ring.mean();
    let gradient = sums.gradient.mean();
    let ratio = |a: f64, b: f64| if b > 0.0 { a.max(0.0) / b } else { 0.0 };
    NucleusQuality {
        label: region.label,
        area: region.area as f64,
        eccentricity: region.eccentricity(),
        solidity: solidity(labels, region),
        brightness,
        texture: ratio(sums.inside.deviation(), brightness),
        edge_width: ratio(brightness, gradient),
        saturation: sums.clipped as f64 / region.area as f64,
        outlier: 0.0,
        flags: QualityFlags::default(),
    }
}

/// Count, sum and sum of squares.
#[derive(Default)]
struct Moments(f64, f64, f64);

impl Moments {
    fn add(&mut self, value: f64) {
        self.0 += 1.0;
        self.1 += value;
        self.2 += value * value;
    }

    fn mean(&self) -> f64 {
        self.1 / self.0.max(1.0)
    }

    fn deviation(&self) -> f64 {
        (self.2 / self.0.max(1.0) - self.mean().powi(2))
            .max(0.0)
            .sqrt()
    }
}

#[derive(Default)]
struct Sums {
    inside: Moments,
    ring: Moments,
    gradient: Moments,
    clipped: usize,
}

impl Sums {
    fn over(
        image: ArrayView2<'_, f32>,
        smooth: ArrayView2<'_, f64>,
        labels: ArrayView2<'_, u32>,
        region: &Region,
        clipped: Option<f32>,
    ) -> Self {
        let mut sums = Self::default();
        let (h, w) = image.dim();
        let b = region.bounding_box;
        for y in b.top.saturating_sub(RING)..(b.bottom + RING).min(h) {
            for x in b.left.saturating_sub(RING)..(b.right + RING).min(w) {
                let near = [
                    (y.saturating_sub(1), x),
                    (y, x.saturating_sub(1)),
                    (y, (x + 1).min(w - 1)),
                    ((y + 1).min(h - 1), x),
                ];
                match labels[[y, x]] {
                    l if l == region.label => {
                        sums.inside.add(f64::from(image[[y, x]]));
                        sums.clipped += usize::from(clipped == Some(image[[y, x]]));
                        if near.iter().any(|&at| labels[at] == 0) {
                            let [up, left, right, down] = near.map(|at| smooth[at]);
                            sums.gradient
                                .add(((down - up) / 2.0).hypot((right - left) / 2.0));
                        }
                    }
                    // The corners of the box may be far from a round nucleus, which does the mean no harm.
                    0 => sums.ring.add(smooth[[y, x]]),
                    _ => {}
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve disks of 20 px on a 4 x 3 grid with soft edges, one small and bright, one dented.
    fn field(softness: f32) -> (Array2<f32>, Array2<u32>) {
        let mut labels = Array2::zeros((180, 240));
        let image = Array2::from_shape_fn((180, 240), |(y, x)| {
            let (dy, dx) = ((y % 60) as f32 - 30.0, (x % 60) as f32 - 30.0);
            let (row, column) = (y / 60, x / 60);
            let special = (row, column) == (1, 1);
            let radius =
                (if special { 6.0 } else { 10.0 }) + (column as f32) * 0.3 + row as f32 * 0.2;
            let r = (dy * dy + dx * dx).sqrt();
            let dent = (row, column) == (2, 2) && dx.abs() < 4.0 && dy > -4.0;
            if r <= radius && !dent {
                labels[[y, x]] = (row * 4 + column + 1) as u32;
            }
            let level = if special {
                400.0
            } else {
                100.0 + column as f32
            };
            if dent {
                10.0
            } else {
                10.0 + level / (1.0 + ((r - radius) / softness).exp())
            }
        });
        (image, labels)
    }

    #[test]
    fn odd_and_bright_nuclei_are_flagged_and_the_rest_is_ok() {
        let (image, labels) = field(0.6);
        let nuclei = assess_nuclei(image.view(), labels.view(), &QualityLimits::default()).unwrap();
        assert_eq!(nuclei.len(), 12);
        for nucleus in &nuclei {
            match nucleus.label {
                6 => assert!(
                    nucleus.flags.mitotic && nucleus.outlier > 3.0,
                    "{nucleus:?}"
                ),
                11 => assert!(nucleus.flags.odd, "{nucleus:?}"),
                _ => assert!(nucleus.flags.is_ok(), "{nucleus:?}"),
            }
        }
    }

    #[test]
    fn a_soft_outline_is_wide() {
        let (image, labels) = field(4.0);
        let nuclei = assess_nuclei(image.view(), labels.view(), &QualityLimits::default()).unwrap();
        assert!(nuclei[0].flags.blurred, "{:?}", nuclei[0]);
    }
}
