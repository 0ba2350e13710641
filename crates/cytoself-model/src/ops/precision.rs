//! How a GPU multiplies.

use std::fmt;
use std::str::FromStr;

/// The arithmetic of convolutions and dense layers on a GPU; everything else is f32, and so are all sums.
///
/// # Example
/// ```
/// use cytoself_model::ops::Precision;
/// let precision: Precision = "bf16".parse()?;
/// assert_eq!(precision, Precision::Bf16);
/// assert!("f16".parse::<Precision>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// f32 factors, fused multiply-add: that of the processor.
    #[default]
    F32,
    /// Factors rounded to TF32 (10 bits of fraction), tensor cores.
    Tf32,
    /// Factors rounded to bfloat16 (7 bits of fraction), tensor cores; results of convolutions are bfloat16 before they become f32.
    Bf16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Tf32, Self::Bf16];

    const NAMES: [&str; 3] = ["f32", "tf32", "bf16"];
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::NAMES[*self as usize])
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|p| p.to_string() == text);
        found.ok_or_else(|| format!("expected {}, found {text}", Self::NAMES.join(", ")))
    }
}
