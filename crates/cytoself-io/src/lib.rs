//! Microscopy fields, crop stores, embedding stores and the file formats of cytoself.
//!
//! This is the only crate of the workspace that opens files; the others take arrays. What it reads and writes:
//!
//! - **crops**: [`open_crops`] opens any of the supported layouts as a [`CropSource`], whose rows are described by a [`CropTable`];
//! - **fields**: [`Manifest`] lists fields of view, [`read_field`] reads them from TIFF stacks ([`TiffStack`]) or PNG images;
//! - **stores**: [`CropStoreWriter`] and [`EmbeddingStoreWriter`] write Zarr stores block by block, [`CropStore`] and [`EmbeddingStore`]
//!   read them by rows;
//! - **splits**: [`split_by_field`] divides fields 8:1:1 into training, validation and test; [`SplitTable`] reads a given division;
//! - **ground truth**: [`read_groups`], and OpenCell's and CORUM's tables;
//! - **arrays**: [`npy`] reads, writes and memory-maps NumPy's format.
//!
//! Files are input from elsewhere: a declared size is compared with the size of the file before anything is allocated, text is
//! never trusted as code (pickled labels go through a reader that knows strings, numbers and NumPy's array constructor only), and
//! a fault is an [`IoError`] that names the file and the place.
//!
//! # Example
//! ```
//! use cytoself_io::{CropTable, Value, SplitParams, split_by_field};
//! let mut table = CropTable::new();
//! for field in 0..10 {
//!     for crop in 0..5 {
//!         let id = format!("ATL2/{field}/{crop}");
//!         let fov = field.to_string();
//!         table.push(&[("crop", Value::Text(&id)), ("protein", Value::Text("ATL2")), ("fov", Value::Text(&fov))])?;
//!     }
//! }
//! let (splits, report) = split_by_field(&table, &SplitParams::default())?;
//! assert_eq!(splits.len(), 50);
//! assert_eq!(report.crops, [40, 5, 5]);
//! # Ok::<(), cytoself_io::IoError>(())
//! ```
#![deny(unsafe_code)]

mod check;
mod cytoself;
mod embeddings;
mod error;
mod field;
mod image;
mod map;
pub mod npy;
mod order;
mod pickle;
mod random;
mod source;
mod split;
mod store;
mod table;
mod tiff;
mod truth;
mod xml;
mod zarr;

pub use check::check_finite;
pub use cytoself::{ImageDataFolder, ProteinFolder};
pub use embeddings::{
    EmbeddingLayout, EmbeddingPart, EmbeddingStore, EmbeddingStoreWriter, count_codes,
    expand_codes, merge_embeddings,
};
pub use error::IoError;
pub use field::{FieldOfView, FieldPlanes, FieldReader, FieldSpec, Manifest, Stack, read_field};
pub use image::{read_image, read_png, to_labels, write_png_rgb, write_png_u8, write_png_u16};
pub use source::{CropSource, network_scale, open_crops};
pub use split::{
    ProteinSplit, Split, SplitParams, SplitReport, SplitRule, SplitTable, read_split_csv,
    split_by_field, split_column,
};
pub use store::{CropLayout, CropStore, CropStoreWriter, PixelType, merge_crop_stores};
pub use table::{Column, ColumnKind, CropTable, TextColumn, Value};
pub use tiff::{AxesSource, OmeCompression, OmeTiff, Plane, TiffStack, write_ome_tiff};
pub use truth::{
    Annotation, Complex, Groups, disjoint_complexes, read_annotations, read_complexes, read_groups,
    unique_localizations,
};
