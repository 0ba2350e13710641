//! Fields of view: the images that crops are cut from, and the manifest that lists them.

mod manifest;
mod planes;
mod read;
mod stack;

pub use manifest::{FieldSpec, Manifest};
pub use planes::FieldPlanes;
pub use read::{FieldOfView, FieldReader, read_field};
pub use stack::Stack;
