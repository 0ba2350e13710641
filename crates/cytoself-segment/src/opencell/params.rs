//! The constants of the chain and their scaling.

use crate::error::SegmentError;

/// Nucleus diameter, in pixels, for which OpenCell's constants were chosen.
const NATIVE_DIAMETER: f64 = 60.0;

/// Parameters of the OpenCell chain.
///
/// Lengths and areas are given for nuclei of 60 px across (OpenCell at 0.2 um per pixel); `scale` multiplies every
/// length, and areas by its square.
///
/// # Defaults
/// - `scale` 1: nuclei of 60 px;
/// - `threshold_factor` 1: Li's threshold as it is;
/// - `percentile` 7: the share of lowest Laplacian values taken for gaps between nuclei;
/// - `compactness` 0.01, as in OpenCell;
/// - `line` false: labels tell touching nuclei apart. OpenCell needed a line because it made the result
///   binary again; scikit-image 0.26 draws none in a compact watershed, 0.18 did;
/// - `keep_edges` false: nuclei that touch the edge of the image are removed.
///
/// # References
/// - Cho NH et al. 2022 (OpenCell), doi:10.1126/science.abi6983
/// - Kobayashi H et al. 2022, Methods, "Nucleus segmentation", doi:10.1038/s41592-022-01541-z
///
/// # Example
/// ```
/// use cytoself_segment::OpenCellParams;
///
/// let chain = OpenCellParams::default().diameter(30.0).check()?;
/// assert_eq!(chain.params().scale, 0.5);
/// assert!(OpenCellParams::default().scale(0.0).check().is_err());
/// # Ok::<(), cytoself_segment::SegmentError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenCellParams {
    /// Expected nucleus diameter divided by 60 px.
    pub scale: f64,
    /// Factor on Li's threshold.
    pub threshold_factor: f64,
    /// Percentile of the Laplacian image below which a pixel may belong to a gap, 0..100.
    pub percentile: f64,
    /// Compactness of the watershed.
    pub compactness: f64,
    /// Whether split nuclei keep a line of background between them.
    pub line: bool,
    /// Whether nuclei that touch the edge of the image stay.
    pub keep_edges: bool,
}

impl Default for OpenCellParams {
    fn default() -> Self {
        Self {
            scale: 1.0,
            threshold_factor: 1.0,
            percentile: 7.0,
            compactness: 0.01,
            line: false,
            keep_edges: false,
        }
    }
}

impl OpenCellParams {
    /// Sets the scale.
    #[must_use]
    pub fn scale(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// Sets the scale for nuclei of `diameter` pixels.
    #[must_use]
    pub fn diameter(self, diameter: f64) -> Self {
        self.scale(diameter / NATIVE_DIAMETER)
    }

    /// Sets the factor on Li's threshold.
    #[must_use]
    pub fn threshold_factor(self, threshold_factor: f64) -> Self {
        Self {
            threshold_factor,
            ..self
        }
    }

    /// Sets the percentile of the gaps.
    #[must_use]
    pub fn percentile(self, percentile: f64) -> Self {
        Self { percentile, ..self }
    }

    /// Sets whether split nuclei keep a line between them.
    #[must_use]
    pub fn line(self, line: bool) -> Self {
        Self { line, ..self }
    }

    /// Sets whether nuclei that touch the edge of the image stay.
    #[must_use]
    pub fn keep_edges(self, keep_edges: bool) -> Self {
        Self { keep_edges, ..self }
    }

    /// The chain with these parameters.
    ///
    /// # Errors
    /// - [`SegmentError::BadParameter`]: `scale` outside 0.02..=50, `threshold_factor` not above 0, `percentile` outside
    ///   0..=100, or `compactness` negative; none may be NaN.
    pub fn check(self) -> Result<OpenCell, SegmentError> {
        let checks = [
            (
                "scale",
                self.scale,
                (0.02..=50.0).contains(&self.scale),
                "0.02 to 50 (diameters of 1.2 to 3000 px)",
            ),
            (
                "threshold_factor",
                self.threshold_factor,
                self.threshold_factor > 0.0,
                "a value above 0",
            ),
            (
                "percentile",
                self.percentile,
                (0.0..=100.0).contains(&self.percentile),
                "0 to 100",
            ),
            (
                "compactness",
                self.compactness,
                self.compactness >= 0.0,
                "a value of at least 0",
            ),
        ];
        match checks.into_iter().find(|c| !c.2) {
            Some((name, value, _, expected)) => Err(SegmentError::BadParameter {
                name,
                value,
                expected,
            }),
            None => Ok(OpenCell(self)),
        }
    }
}

/// The OpenCell chain with valid parameters; made by [`OpenCellParams::check`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenCell(OpenCellParams);

impl OpenCell {
    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &OpenCellParams {
        &self.0
    }

    // The constants are those of the OpenCell code at 0.2 um per pixel (nuclei of 60 px).

    pub(super) fn blur(&self) -> f64 {
        5.0 * self.0.scale
    }

    pub(super) fn log_blur(&self) -> f64 {
        4.0 * self.0.scale
    }

    pub(super) fn closing_radius(&self) -> usize {
        self.length(5.0)
    }

    pub(super) fn seed_distance(&self) -> usize {
        self.length(15.0)
    }

    pub(super) fn hole_area(&self) -> usize {
        (self.area(1e4) as usize).max(1)
    }

    pub(super) fn gap_area(&self) -> f64 {
        self.area(900.0)
    }

    pub(super) fn nucleus_area(&self) -> f64 {
        self.area(1000.0)
    }

    fn length(&self, native: f64) -> usize {
        (native * self.0.scale).round_ties_even().max(1.0) as usize
    }

    fn area(&self, native: f64) -> f64 {
        native * self.0.scale * self.0.scale
    }
}
