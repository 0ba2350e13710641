//! The layouts in which cytoself's data come, read in place by memory map.

mod image_data;
mod labels;
mod planes;
mod protein_folder;

pub use image_data::ImageDataFolder;
pub use protein_folder::ProteinFolder;
