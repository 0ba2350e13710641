//! Linear filters: Gaussian, Laplacian.

mod gaussian;
mod laplacian;
// The one place with unsafe code: the dispatch over instruction sets.
#[allow(unsafe_code)]
mod weighted_rows;

pub use gaussian::gaussian;
pub use laplacian::laplacian;
