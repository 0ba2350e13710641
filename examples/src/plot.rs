//! Pictures of the analyses, each as PNG and SVG from one drawing.
//!
//! A picture is a [`Figure`]; [`save`] writes it in the format of the path's extension. Fonts come with the binary, so
//! that a picture looks the same on a machine without fonts.
//!
//! ```no_run
//! use cytoself_examples::plot::{self, Scatter};
//! let points = ndarray::array![[0.0f32, 0.0], [1.0, 2.0], [3.0, 1.0]];
//! let names = ["Golgi".to_string(), "nucleolus".to_string()];
//! let scatter = Scatter::new(points.view(), &[Some(0), Some(1), None], &names).title("UMAP");
//! plot::save(&scatter, "umap.png".as_ref())?;
//! plot::save(&scatter, "umap.svg".as_ref())?;
//! # Ok::<(), cytoself_examples::cli::Failure>(())
//! ```

mod canvas;
mod clustermap;
mod curves;
mod frame;
mod grid;
mod histograms;
mod landmarks;
mod montage;
mod outline;
mod palette;
mod regression;
mod scatter;
mod sheet;
mod spectrum;
mod submaps;

pub use canvas::{Area, Drawing, Figure, save, save_as};
pub use clustermap::{Bracket, Clustermap};
pub use curves::Curves;
pub use grid::ScatterGrid;
pub use histograms::Histograms;
pub use landmarks::Landmarks;
pub use montage::{Glow, Montage, TILE_SIDE, Tile};
pub use outline::{Rgb, beside, outlines, stretched};
pub use palette::{OTHERS, class_color, diverging};
pub use regression::{Fit, Measured, Regression};
pub use scatter::Scatter;
pub use sheet::Sheet;
pub use spectrum::SpectrumPanels;
pub use submaps::Submaps;
