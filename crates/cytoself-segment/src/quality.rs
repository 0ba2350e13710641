//! Is this nucleus, and is this field, fit for use?

mod field;
mod flags;
mod nucleus;
mod outlier;
mod saturation;
mod shape;

pub use field::{FieldClass, FieldParams, classify_field};
pub use flags::{QualityFlags, QualityLimits};
pub use nucleus::{NucleusQuality, assess_nuclei};
pub use outlier::outlier_scores;
pub use saturation::saturation_level;
pub use shape::solidity;
