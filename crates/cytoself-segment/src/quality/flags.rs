//! What is wrong with a nucleus, in words.

use std::fmt;

use super::NucleusQuality;

/// Limits beyond which a nucleus is flagged.
///
/// # Defaults
/// - `saturation` 0.01: share of the nucleus at the clipping level;
/// - `edge_width` 0.28: width of its outline over its diameter, beyond which it counts as out of focus;
/// - `debris_area` 0.3: area over the field's median, below which it counts as debris;
/// - `solidity` 0.88: below it the shape is odd (lobed, or nuclei that were not split);
/// - `mitotic_area` 0.8 and `mitotic_brightness` 1.6: smaller and brighter than the field's medians by these factors;
/// - `outlier` 3: outlier score above which a nucleus is odd.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QualityLimits {
    /// Share of clipped pixels.
    pub saturation: f64,
    /// Outline width over diameter.
    pub edge_width: f64,
    /// Area over the median area.
    pub debris_area: f64,
    /// Area over the area of the convex hull.
    pub solidity: f64,
    /// Area over the median area of a nucleus in mitosis, at most.
    pub mitotic_area: f64,
    /// Brightness over the median brightness of a nucleus in mitosis, at least.
    pub mitotic_brightness: f64,
    /// Outlier score.
    pub outlier: f64,
}

impl Default for QualityLimits {
    fn default() -> Self {
        Self {
            saturation: 0.01,
            edge_width: 0.28,
            debris_area: 0.3,
            solidity: 0.88,
            mitotic_area: 0.8,
            mitotic_brightness: 1.6,
            outlier: 3.0,
        }
    }
}

/// What is wrong with a nucleus; displayed as `ok` or as the flags joined by `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QualityFlags {
    /// Touches the edge of the image.
    pub edge: bool,
    /// Out of focus.
    pub blurred: bool,
    /// Clipped intensities.
    pub saturated: bool,
    /// Too small to be a nucleus.
    pub debris: bool,
    /// Small and bright, as in mitosis or apoptosis.
    pub mitotic: bool,
    /// Unusual shape or an unusual combination of features.
    pub odd: bool,
}

impl QualityFlags {
    /// The flags of a nucleus among others of median area and brightness `usual`.
    pub(super) fn of(
        nucleus: &NucleusQuality,
        edge: bool,
        usual: [f64; 2],
        limits: &QualityLimits,
    ) -> Self {
        let [area, brightness] = [nucleus.area / usual[0], nucleus.brightness / usual[1]];
        let debris = area < limits.debris_area;
        let mitotic =
            !debris && area < limits.mitotic_area && brightness > limits.mitotic_brightness;
        Self {
            edge,
            blurred: nucleus.edge_width > limits.edge_width * nucleus.diameter(),
            saturated: nucleus.saturation > limits.saturation,
            debris,
            mitotic,
            odd: !debris
                && (nucleus.solidity < limits.solidity || nucleus.outlier > limits.outlier),
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for QualityFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.edge, "edge"),
            (self.blurred, "blurred"),
            (self.saturated, "saturated"),
            (self.debris, "debris"),
            (self.mitotic, "mitotic"),
            (self.odd, "odd"),
        ];
        let set: Vec<&str> = names.iter().filter(|n| n.0).map(|n| n.1).collect();
        f.write_str(
            if set.is_empty() {
                "ok".into()
            } else {
                set.join(";")
            }
            .as_str(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_in_words() {
        assert_eq!(QualityFlags::default().to_string(), "ok");
        let flags = QualityFlags {
            edge: true,
            odd: true,
            ..Default::default()
        };
        assert_eq!(flags.to_string(), "edge;odd");
        assert!(!flags.is_ok());
    }
}
