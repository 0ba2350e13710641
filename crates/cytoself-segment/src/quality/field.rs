//! What kind of field this is.

use std::fmt;

use crate::label::Region;

/// Kinds of fields; only [`FieldClass::Good`] ones are worth much for training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldClass {
    /// Not one nucleus.
    NoNuclei,
    /// Too few nuclei to tell more.
    TooFew,
    /// Nuclei cover little of the field.
    Sparse,
    /// Nuclei sit in clumps with empty space between.
    Clumpy,
    /// Nuclei cover more than a single layer of cells does.
    Overconfluent,
    /// None of the above.
    Good,
}

impl fmt::Display for FieldClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNuclei => "no_nuclei",
            Self::TooFew => "too_few",
            Self::Sparse => "sparse",
            Self::Clumpy => "clumpy",
            Self::Overconfluent => "overconfluent",
            Self::Good => "good",
        })
    }
}

/// Limits between the classes.
///
/// # Defaults
/// - `fewest` 5 nuclei;
/// - `sparse` 0.04 and `overconfluent` 0.55: shares of the field that nuclei cover;
/// - `clumpy` 0.7: mean distance to the nearest nucleus over that of nuclei strewn at random (Clark and Evans).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FieldParams {
    /// Nuclei that a field must have.
    pub fewest: usize,
    /// Covered share below which a field is sparse.
    pub sparse: f64,
    /// Covered share above which it is over-confluent.
    pub overconfluent: f64,
    /// Ratio of Clark and Evans below which it is clumpy.
    pub clumpy: f64,
}

impl Default for FieldParams {
    fn default() -> Self {
        Self {
            fewest: 5,
            sparse: 0.04,
            overconfluent: 0.55,
            clumpy: 0.7,
        }
    }
}

/// Classifies a field by the number, the cover and the arrangement of its nuclei.
///
/// # References
/// - Clark PJ, Evans FC (1954), Distance to nearest neighbor, doi:10.2307/1931034
///
/// # Example
/// ```
/// use cytoself_segment::{FieldClass, FieldParams, classify_field};
///
/// assert_eq!(classify_field(&[], (512, 512), &FieldParams::default()), FieldClass::NoNuclei);
/// ```
#[must_use]
pub fn classify_field(
    regions: &[Region],
    (height, width): (usize, usize),
    params: &FieldParams,
) -> FieldClass {
    if regions.is_empty() {
        return FieldClass::NoNuclei;
    }
    if regions.len() < params.fewest {
        return FieldClass::TooFew;
    }
    let field = (height * width) as f64;
    let covered = regions.iter().map(|r| r.area).sum::<usize>() as f64 / field;
    // Distance to the nearest of points strewn at random with this density.
    let random = 0.5 / (regions.len() as f64 / field).sqrt();
    if covered > params.overconfluent {
        FieldClass::Overconfluent
    } else if mean_nearest(regions) / random < params.clumpy {
        FieldClass::Clumpy
    } else if covered < params.sparse {
        FieldClass::Sparse
    } else {
        FieldClass::Good
    }
}

/// Mean distance from each centroid to the nearest other one.
fn mean_nearest(regions: &[Region]) -> f64 {
    let distance = |a: &Region, b: &Region| {
        (a.centroid[0] - b.centroid[0]).hypot(a.centroid[1] - b.centroid[1])
    };
    let nearest = |(i, a): (usize, &Region)| {
        let others = regions.iter().enumerate().filter(|(j, _)| *j != i);
        others
            .map(|(_, b)| distance(a, b))
            .fold(f64::INFINITY, f64::min)
    };
    regions.iter().enumerate().map(nearest).sum::<f64>() / regions.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::regions;
    use ndarray::Array2;

    /// `count` disks of radius `radius`, `step` pixels apart, on a square grid from the corner of a field of 400 px.
    fn grid(count: usize, step: usize, radius: usize) -> FieldClass {
        let labels = Array2::from_shape_fn((400, 400), |(y, x)| {
            let (row, column) = (y / step, x / step);
            let (dy, dx) = ((y % step).abs_diff(step / 2), (x % step).abs_diff(step / 2));
            if row < count && column < count && dy * dy + dx * dx <= radius * radius {
                (row * count + column + 1) as u32
            } else {
                0
            }
        });
        classify_field(
            &regions(labels.view()),
            labels.dim(),
            &FieldParams::default(),
        )
    }

    #[test]
    fn every_class() {
        assert_eq!(grid(2, 50, 10), FieldClass::TooFew);
        assert_eq!(grid(8, 50, 10), FieldClass::Good);
        assert_eq!(grid(8, 50, 3), FieldClass::Sparse);
        assert_eq!(grid(8, 50, 23), FieldClass::Overconfluent);
        assert_eq!(grid(5, 22, 8), FieldClass::Clumpy);
        assert_eq!(FieldClass::Overconfluent.to_string(), "overconfluent");
    }
}
