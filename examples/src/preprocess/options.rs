//! The flags of `preprocess`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use cytoself_io::{CropLayout, Manifest, PixelType, SplitParams};
use cytoself_segment::{Marker, Method, Normalization, ProjectionOrder};

use super::shard::Shard;
use crate::cli::{Common, Failure};

/// Where the nuclei come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finder {
    /// The fields are segmented.
    Segment(Method),
    /// The manifest names label images.
    Labels,
}

impl FromStr for Finder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "labels" => Ok(Self::Labels),
            other => other
                .parse()
                .map(Self::Segment)
                .map_err(|_| "expected auto, opencell, local or labels".to_string()),
        }
    }
}

impl fmt::Display for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(method) => method.fmt(f),
            Self::Labels => f.write_str("labels"),
        }
    }
}

/// Over which pixels intensities are scaled to 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Unit {
    /// Each crop by itself
    Crop,
    /// The whole field of view
    Fov,
}

/// Type of the stored pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pixels {
    /// Exact
    F32,
    /// Half the size: steps of 1/65535, and of 1/64 px in distances
    U16,
}

/// What a marker of cells stains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stain {
    /// The inside of cells: bright within, dark between
    Cytoplasm,
    /// Their outline: dark within, bright between
    Membrane,
}

/// What to cut from which fields, and where to write it.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// CSV of fields: path, protein, and where known fov, plate, channels, pixel_size_um, z_step_um, localization
    #[arg(long, value_name = "FILE")]
    pub manifest: PathBuf,
    /// Crop store to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Side of the crops, in pixels after downsampling
    #[arg(long, value_name = "PX", default_value_t = 100)]
    pub crop_size: usize,
    /// Where nuclei come from: auto, opencell, local, or labels (images named in the manifest)
    #[arg(long, value_name = "M", default_value = "auto")]
    pub method: Finder,
    /// Column of the manifest that names a label image per field (for --method labels)
    #[arg(long, value_name = "COLUMN")]
    pub labels: Option<String>,
    /// Diameter of nuclei in pixels after downsampling [default: estimated from each field]
    #[arg(long, value_name = "PX")]
    pub diameter: Option<f64>,
    /// Pixels of a field per pixel of a crop, along each side
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub downsample: usize,
    /// Side of a crop's pixel in um, for fields of different magnification: each field is downsampled by the whole number
    /// that comes nearest, from its pixel size in the manifest or the file
    #[arg(long, value_name = "UM", conflicts_with = "downsample")]
    pub pixel_size: Option<f64>,
    /// Average pixels before projecting over z, instead of after it
    #[arg(long)]
    pub downsample_first: bool,
    /// What intensities are scaled over
    #[arg(long, value_enum, value_name = "UNIT", default_value = "crop")]
    pub normalize: Unit,
    /// Type of the stored pixels
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f32")]
    pub pixels: Pixels,
    /// Crops with this many slices around the middle of the cell layer, and distances in 3-D; 1 projects over z
    #[arg(long = "z-slices", value_name = "N", default_value_t = 1)]
    pub slices: usize,
    /// Darken the other cells in a crop: those found around the nuclei with --marker, without it the other nuclei
    #[arg(long)]
    pub mask_neighbours: bool,
    /// Channel that shows where cells end, for --mask-neighbours
    #[arg(long, value_name = "CHANNEL", requires = "mask_neighbours")]
    pub marker: Option<String>,
    /// What the marker stains
    #[arg(long, value_enum, value_name = "STAIN", default_value = "cytoplasm")]
    pub marker_stain: Stain,
    /// Leave out nuclei with one of these flags: blurred,saturated,debris,mitotic,odd
    #[arg(long, value_name = "FLAGS", value_delimiter = ',')]
    pub reject: Vec<String>,
    /// Leave out nuclei with an outlier score above this
    #[arg(long, value_name = "SCORE")]
    pub max_outlier: Option<f64>,
    /// Shares of the fields of each protein for training, validation and test
    #[arg(long, value_name = "F,F,F", value_delimiter = ',', default_values_t = SPLIT)]
    pub split: Vec<f64>,
    /// Only the fields of one shard: i/N with i from 0 (N/N is the same as 0/N)
    #[arg(long, value_name = "i/N", default_value = "0/1")]
    pub shard: Shard,
    /// Keep what an interrupted run with the same flags has finished
    #[arg(long)]
    pub resume: bool,
    /// Folder for pictures to look at: a sheet of crops, and the outlines of nuclei over up to 48 fields (green: a crop, yellow:
    /// a crop with a quality flag, red: left out for its quality, blue: too near the edge)
    #[arg(long, value_name = "DIR")]
    pub preview: Option<PathBuf>,
    /// Flags of every binary.
    #[command(flatten)]
    pub common: Common,
}

/// 8:1:1, as in the paper.
const SPLIT: [f64; 3] = [0.8, 0.1, 0.1];

const FLAGS: [&str; 5] = ["blurred", "saturated", "debris", "mitotic", "odd"];

impl Options {
    /// The options of a plain run, for callers other than the command line.
    #[must_use]
    pub fn new(manifest: PathBuf, out: PathBuf, common: Common) -> Self {
        Self {
            manifest,
            out,
            crop_size: 100,
            method: Finder::Segment(Method::Auto),
            labels: None,
            diameter: None,
            downsample: 2,
            pixel_size: None,
            downsample_first: false,
            normalize: Unit::Crop,
            pixels: Pixels::F32,
            slices: 1,
            mask_neighbours: false,
            marker: None,
            marker_stain: Stain::Cytoplasm,
            reject: Vec::new(),
            max_outlier: None,
            split: SPLIT.to_vec(),
            shard: Shard::default(),
            resume: false,
            preview: None,
            common,
        }
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        if !(2..=4096).contains(&self.crop_size) {
            return Err(Failure::input(format!(
                "--crop-size {}: expected 2 to 4096 px",
                self.crop_size
            )));
        }
        if !(1..=1024).contains(&self.slices) {
            return Err(Failure::input(format!(
                "--z-slices {}: expected 1 to 1024",
                self.slices
            )));
        }
        if !(1..=64).contains(&self.downsample) {
            return Err(Failure::input(format!(
                "--downsample {}: expected 1 to 64",
                self.downsample
            )));
        }
        if let Some(size) = self.pixel_size.filter(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(Failure::input(format!(
                "--pixel-size {size}: expected a length in um above 0"
            )));
        }
        if let Some(flag) = self.reject.iter().find(|f| !FLAGS.contains(&f.as_str())) {
            return Err(Failure::input(format!(
                "--reject {flag}: expected one of {}",
                FLAGS.join(", ")
            )));
        }
        if self.labels.is_some() && self.method != Finder::Labels {
            return Err(Failure::input(format!(
                "--labels is for --method labels, found --method {}",
                self.method
            )));
        }
        Ok(())
    }

    /// How fields are divided.
    pub(super) fn split(&self) -> Result<SplitParams, Failure> {
        match self.split[..] {
            [train, validation, test] if train > 0.0 && validation >= 0.0 && test >= 0.0 => {
                Ok(SplitParams::default()
                    .fractions([train, validation, test])
                    .seed(self.common.seed))
            }
            _ => Err(Failure::input(format!(
                "--split {:?}: expected three shares, for training (above 0), validation and test, e.g. 0.8,0.1,0.1",
                self.split
            ))),
        }
    }

    /// Fails if the manifest lacks the column of label images.
    pub(super) fn check_columns(&self, manifest: &Manifest) -> Result<(), Failure> {
        if self.method != Finder::Labels {
            return Ok(());
        }
        let column = self.label_column();
        if manifest.table().text(column).is_some() {
            return Ok(());
        }
        let columns: Vec<&str> = manifest.table().columns().collect();
        Err(Failure::input(format!(
            "{}: expected a column {column} with the path of a label image per field, found the columns {}; name it with --labels",
            self.manifest.display(),
            columns.join(",")
        )))
    }

    pub(super) fn label_column(&self) -> &str {
        self.labels.as_deref().unwrap_or("labels")
    }

    /// Pixels of a field per pixel of a crop, for a field whose pixels measure `pixel_um`.
    pub(super) fn factor(&self, pixel_um: Option<f64>) -> Result<usize, Failure> {
        let Some(wanted) = self.pixel_size else {
            return Ok(self.downsample);
        };
        let Some(pixel) = pixel_um else {
            return Err(Failure::input(format!(
                "--pixel-size {wanted}: expected the field's pixel size, found none in the file; fill in the column pixel_size_um of the manifest"
            )));
        };
        let factor = (wanted / pixel).round();
        if (1.0..=64.0).contains(&factor) {
            return Ok(factor as usize);
        }
        Err(Failure::input(format!(
            "--pixel-size {wanted}: expected 1 to 64 times the field's pixel size, found {pixel} um; pixels are averaged, never divided"
        )))
    }

    /// Index of the channel that shows where cells end, if one is named.
    pub(super) fn marker_channel(&self, channels: &[String]) -> Result<Option<usize>, Failure> {
        let Some(marker) = &self.marker else {
            return Ok(None);
        };
        let found = channels
            .iter()
            .position(|c| c.trim().eq_ignore_ascii_case(marker));
        found.map(Some).ok_or_else(|| {
            Failure::input(format!(
                "--marker {marker}: expected a channel of that name, found {}; name the channels in the manifest's column channels",
                channels.join(", ")
            ))
        })
    }

    pub(super) fn stain(&self) -> Marker {
        match self.marker_stain {
            Stain::Cytoplasm => Marker::Cytoplasm,
            Stain::Membrane => Marker::Membrane,
        }
    }

    pub(super) fn order(&self) -> ProjectionOrder {
        if self.downsample_first {
            ProjectionOrder::DownsampleFirst
        } else {
            ProjectionOrder::ProjectFirst
        }
    }

    pub(super) fn normalization(&self) -> Normalization {
        match self.normalize {
            Unit::Crop => Normalization::Crop,
            Unit::Fov => Normalization::Fov,
        }
    }

    /// Everything that decides about the crops, by name.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let optional = |v: Option<f64>| v.map_or_else(|| "none".to_string(), |v| v.to_string());
        vec![
            ("method", self.method.to_string()),
            (
                "labels_column",
                if self.method == Finder::Labels {
                    self.label_column().to_string()
                } else {
                    "none".into()
                },
            ),
            (
                "diameter_px",
                self.diameter
                    .map_or_else(|| "estimated".to_string(), |d| d.to_string()),
            ),
            ("crop_size_px", self.crop_size.to_string()),
            (
                "downsample",
                self.pixel_size
                    .map_or_else(|| self.downsample.to_string(), |um| format!("to {um} um")),
            ),
            (
                "projection",
                if self.downsample_first {
                    "mean then max"
                } else {
                    "max then mean"
                }
                .to_string(),
            ),
            (
                "normalization",
                format!("{:?}", self.normalize).to_lowercase(),
            ),
            ("z_slices", self.slices.to_string()),
            (
                "mask_neighbours",
                match (&self.marker, self.mask_neighbours) {
                    (_, false) => "no".to_string(),
                    (None, true) => "nuclei".to_string(),
                    (Some(marker), true) => format!("cells by {marker}, {:?}", self.marker_stain),
                },
            ),
            (
                "reject",
                if self.reject.is_empty() {
                    "none".to_string()
                } else {
                    self.reject.join(",")
                },
            ),
            ("max_outlier", optional(self.max_outlier)),
            ("split", format!("{:?}", self.split)),
            ("seed", self.common.seed.to_string()),
        ]
    }

    /// The layout with the record of how the crops were made.
    pub(super) fn describe(&self, layout: CropLayout) -> CropLayout {
        let layout = layout
            .pixels(match self.pixels {
                Pixels::F32 => PixelType::F32,
                Pixels::U16 => PixelType::U16,
            })
            .made("stage", "preprocess")
            .made("shard", self.shard);
        self.parameters()
            .into_iter()
            .fold(layout, |layout, (name, value)| layout.made(name, value))
    }
}
