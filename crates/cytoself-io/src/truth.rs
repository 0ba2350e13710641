//! Ground truth: which protein belongs to which group.

mod annotations;
mod complexes;
mod groups;

pub use annotations::{Annotation, read_annotations, unique_localizations};
pub use complexes::{Complex, disjoint_complexes, read_complexes};
pub use groups::{Groups, read_groups};
