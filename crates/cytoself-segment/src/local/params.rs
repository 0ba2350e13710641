//! The constants of the local method.

use std::f64::consts::PI;

use crate::error::SegmentError;

/// Parameters of the local method; every length is a multiple of the expected diameter of nuclei.
///
/// # Defaults
/// - `diameter` 60 px;
/// - `contrast` 0.52: where the outline lies between the local background (0) and the local nuclei (1);
/// - `keep_edges` false: nuclei that touch the edge of the image are removed.
///
/// # Example
/// ```
/// use cytoself_segment::LocalParams;
/// use ndarray::Array2;
///
/// // Two disks, one three times as bright as the other, in uneven light.
/// let image = Array2::from_shape_fn((80, 160), |(y, x)| {
///     let (dy, dx) = (y as f32 - 40.0, (x % 80) as f32 - 40.0);
///     let level = if x < 80 { 90.0 } else { 300.0 };
///     level / (1.0 + ((dy * dy + dx * dx).sqrt() - 12.0).exp()) + 10.0 + x as f32 / 8.0
/// });
/// let nuclei = LocalParams::default().diameter(24.0).check()?.segment(image.view())?;
/// assert_eq!((nuclei[[40, 40]], nuclei[[40, 120]], nuclei[[40, 80]]), (1, 2, 0));
/// # Ok::<(), cytoself_segment::SegmentError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalParams {
    /// Expected diameter of nuclei, in pixels.
    pub diameter: f64,
    /// Share of the local contrast at which the outline lies, 0..1.
    pub contrast: f64,
    /// Whether nuclei that touch the edge of the image stay.
    pub keep_edges: bool,
}

impl Default for LocalParams {
    fn default() -> Self {
        Self {
            diameter: 60.0,
            contrast: 0.52,
            keep_edges: false,
        }
    }
}

impl LocalParams {
    /// Sets the expected diameter.
    #[must_use]
    pub fn diameter(self, diameter: f64) -> Self {
        Self { diameter, ..self }
    }

    /// Sets the share of the local contrast at which the outline lies.
    #[must_use]
    pub fn contrast(self, contrast: f64) -> Self {
        Self { contrast, ..self }
    }

    /// Sets whether nuclei that touch the edge of the image stay.
    #[must_use]
    pub fn keep_edges(self, keep_edges: bool) -> Self {
        Self { keep_edges, ..self }
    }

    /// The method with these parameters.
    ///
    /// # Errors
    /// - [`SegmentError::BadParameter`]: `diameter` outside 1.2..=3000 px, or `contrast` outside 0..=1.
    pub fn check(self) -> Result<Local, SegmentError> {
        let checks = [
            (
                "diameter",
                self.diameter,
                (1.2..=3000.0).contains(&self.diameter),
                "1.2 to 3000 px",
            ),
            (
                "contrast",
                self.contrast,
                (0.0..=1.0).contains(&self.contrast),
                "0 to 1",
            ),
        ];
        match checks.into_iter().find(|c| !c.2) {
            Some((name, value, _, expected)) => Err(SegmentError::BadParameter {
                name,
                value,
                expected,
            }),
            None => Ok(Local(self)),
        }
    }
}

/// The local method with valid parameters; made by [`LocalParams::check`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Local(LocalParams);

impl Local {
    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &LocalParams {
        &self.0
    }

    // The factors were fixed on the even-numbered images of a public collection; docs/benchmarks/segment.md says how.

    pub(super) fn blur(&self) -> f64 {
        (0.031 * self.0.diameter).max(0.7)
    }

    /// Reach of the local means.
    pub(super) fn neighbourhood(&self) -> f64 {
        self.0.diameter
    }

    /// Share of the global threshold above the darkest background below which nothing is a nucleus.
    pub(super) fn floor(&self) -> f64 {
        0.5
    }

    pub(super) fn log_blur(&self) -> f64 {
        0.25 * self.0.diameter
    }

    /// Weight of the Laplacian of Gaussian against the distance to the outline.
    pub(super) fn log_weight(&self) -> f64 {
        0.5
    }

    pub(super) fn distance_blur(&self) -> f64 {
        (0.04 * self.0.diameter).max(1.0)
    }

    pub(super) fn seed_distance(&self) -> usize {
        (0.35 * self.0.diameter).round_ties_even().max(1.0) as usize
    }

    pub(super) fn hole_area(&self) -> usize {
        (0.5 * self.0.diameter * self.0.diameter) as usize
    }

    pub(super) fn nucleus_area(&self) -> f64 {
        0.15 * PI / 4.0 * self.0.diameter * self.0.diameter
    }
}
