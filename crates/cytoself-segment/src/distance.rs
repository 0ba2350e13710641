//! Exact Euclidean distance transforms.

mod columns;
mod envelope;
mod euclidean;
// The dispatch over instruction sets.
#[allow(unsafe_code)]
mod rows;
mod signed;

pub(crate) use envelope::Envelope;
pub use euclidean::distance_transform;
pub use signed::signed_distance;
