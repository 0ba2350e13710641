//! Exact Euclidean distance transforms.

mod envelope;
mod euclidean;
mod signed;

pub(crate) use envelope::Envelope;
pub use euclidean::distance_transform;
pub use signed::signed_distance;
