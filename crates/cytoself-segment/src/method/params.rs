//! Which method, for nuclei of which size.

use std::fmt;
use std::str::FromStr;

/// Diameter, in pixels, of nuclei at scale 1 (OpenCell at 0.2 um per pixel).
const NATIVE_DIAMETER: f64 = 60.0;

/// A way to find nuclei.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Both, and of the two results the more plausible one.
    #[default]
    Auto,
    /// The published chain: [`crate::OpenCellParams`].
    OpenCell,
    /// Local threshold and blob seeds: [`crate::LocalParams`].
    Local,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::OpenCell => "opencell",
            Self::Local => "local",
        })
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "opencell" => Ok(Self::OpenCell),
            "local" => Ok(Self::Local),
            other => Err(format!("method {other}: expected auto, opencell or local")),
        }
    }
}

/// Parameters of [`crate::segment`].
///
/// # Defaults
/// - `method` [`Method::Auto`];
/// - `diameter` `None`: estimated from each image;
/// - `keep_edges` false: nuclei that touch the edge of the image are removed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SegmentParams {
    /// Which method.
    pub method: Method,
    /// Expected diameter of nuclei in pixels.
    pub diameter: Option<f64>,
    /// Whether nuclei that touch the edge of the image stay.
    pub keep_edges: bool,
}

impl SegmentParams {
    /// Sets the method.
    #[must_use]
    pub fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// Sets the expected diameter; `None` estimates it.
    #[must_use]
    pub fn diameter(self, diameter: Option<f64>) -> Self {
        Self { diameter, ..self }
    }

    /// Sets the expected diameter as a multiple of 60 px.
    #[must_use]
    pub fn scale(self, scale: f64) -> Self {
        self.diameter(Some(scale * NATIVE_DIAMETER))
    }

    /// Sets whether nuclei that touch the edge of the image stay.
    #[must_use]
    pub fn keep_edges(self, keep_edges: bool) -> Self {
        Self { keep_edges, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_reversible() {
        for method in [Method::Auto, Method::OpenCell, Method::Local] {
            assert_eq!(method.to_string().parse(), Ok(method));
        }
        assert!("otsu".parse::<Method>().is_err());
        assert_eq!(SegmentParams::default().scale(0.5).diameter, Some(30.0));
    }
}
