//! TIFF stacks: baseline, BigTIFF and tiled, with the axes that OME-XML, ImageJ or MicroManager give them.
//!
//! The file is memory-mapped and never trusted: every offset is checked when it is used, and what a page decodes to is bounded
//! before it is allocated. Uncompressed pages are copied straight from the map.
//!
//! # References
//! - TIFF Revision 6.0, Adobe 1992, with Technical Note 3 (floating point predictor) and the BigTIFF design of 2007
//! - OME-TIFF specification, <https://ome-model.readthedocs.io/en/stable/ome-tiff/>
//! - ImageJ `TiffEncoder` and `TiffDecoder`, format of the description and of tags 50838 and 50839

mod axes;
mod bytes;
mod codec;
mod decode;
mod ifd;
mod imagej;
mod micromanager;
mod ome;
mod page;
mod plane;
mod stack;
mod write;

pub(crate) use axes::sample_names;
pub(crate) use decode::Pixel;
pub(crate) use stack::PixelKind;

pub use axes::AxesSource;
pub use plane::Plane;
pub use stack::TiffStack;
pub use write::{OmeCompression, OmeTiff, write_ome_tiff};
