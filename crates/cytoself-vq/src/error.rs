//! What can go wrong, with what was expected and what was found.

use thiserror::Error;

/// Why a codebook, a search or a training step was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VqError {
    /// The codebook has no code or no component.
    #[error(
        "a codebook needs at least one code and one component, found {codes} codes of {dim} components"
    )]
    EmptyCodebook {
        /// Number of codes.
        codes: usize,
        /// Components per code.
        dim: usize,
    },
    /// More codes than a 31-bit index can name.
    #[error("a codebook holds at most {limit} codes, found {codes}")]
    TooManyCodes {
        /// Number of codes.
        codes: usize,
        /// The largest number of codes.
        limit: usize,
    },
    /// The number of values does not fit the shape.
    #[error("{what}: expected {expected} values for shape {shape}, found {found}")]
    Length {
        /// Which array.
        what: &'static str,
        /// The shape that was asked for, as text.
        shape: String,
        /// Values that the shape needs.
        expected: usize,
        /// Values that were given.
        found: usize,
    },
    /// Vectors and codebook differ in their number of components.
    #[error(
        "vectors have {found} components, the codes have {expected}; check the split: channels = split x {expected}"
    )]
    Dimension {
        /// Components per code.
        expected: usize,
        /// Components per vector.
        found: usize,
    },
    /// The channels of an image cannot be cut into `split` chunks of the codebook's width.
    #[error("{channels} channels cannot be cut into {split} chunks of {dim}, the width of the codes; expected {} channels", split * dim)]
    Channels {
        /// Channels of the input.
        channels: usize,
        /// Chunks per position.
        split: usize,
        /// Components per code.
        dim: usize,
    },
    /// A value of the codebook is NaN or infinite.
    #[error("code {code} of the codebook is not finite: component {component} is {value}")]
    NonFiniteCode {
        /// Row of the codebook.
        code: usize,
        /// Component within the row.
        component: usize,
        /// The value.
        value: f32,
    },
    /// A value of the vectors is NaN or infinite.
    #[error(
        "row {row} of the vectors is not finite: component {component} of chunk {chunk} at position {position} is {value}"
    )]
    NonFiniteVector {
        /// Row (or image) of the input.
        row: usize,
        /// Chunk within the row, `0..split`.
        chunk: usize,
        /// Position within the image; 0 for plain rows.
        position: usize,
        /// Component within the chunk.
        component: usize,
        /// The value.
        value: f32,
    },
    /// A code index points past the codebook.
    #[error("index {found} at place {place} is outside the codebook of {codes} codes")]
    IndexOutOfRange {
        /// Flat place in the indices.
        place: usize,
        /// The index.
        found: u32,
        /// Number of codes.
        codes: usize,
    },
    /// A parameter is outside its range.
    #[error("{name} = {value}: expected {expected}")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// Its value, as text.
        value: String,
        /// The range.
        expected: &'static str,
    },
    /// The progress callback asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// There is no NVIDIA driver.
    #[cfg(feature = "cuda")]
    #[error(
        "no NVIDIA driver on this machine: libcuda was not found; install the driver, or search on the processor"
    )]
    NoCudaDriver,
    /// There is no such GPU.
    #[cfg(feature = "cuda")]
    #[error("no GPU {ordinal}: the NVIDIA driver sees {found}, counted from 0")]
    NoCudaDevice {
        /// The number that was asked for.
        ordinal: usize,
        /// GPUs of this machine.
        found: usize,
    },
    /// The GPU lacks instructions that the kernels need.
    #[cfg(feature = "cuda")]
    #[error("{name} has compute capability {}.{}; the kernels need 8.0 (Ampere) or later", capability.0, capability.1)]
    OldCudaDevice {
        /// Name of the GPU.
        name: String,
        /// Its compute capability, major and minor.
        capability: (i32, i32),
    },
    /// The driver refused something.
    #[cfg(feature = "cuda")]
    #[error("CUDA failed when {step}")]
    Cuda {
        /// What was being done.
        step: &'static str,
        /// The driver's own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A tensor operation failed.
    #[cfg(feature = "candle")]
    #[error("tensor operation")]
    Candle(#[from] candle_core::Error),
}
