//! Pictures to look at: outlines over the fields, and a sheet of crops.

use std::collections::BTreeSet;
use std::path::Path;

use cytoself_io::{FieldSpec, write_png_rgb};
use ndarray::{Array2, Array5, ArrayView4, Axis};

use super::options::Options;
use super::parts::Parts;
use super::planes::Planes;
use crate::cli::Failure;
use crate::output::Output;
use crate::plot::{self, Rgb, Sheet, beside, diverging, outlines, stretched};

/// Fields that get a picture, at most; evenly spaced over the manifest.
const FIELDS: usize = 48;
/// Crops of a field on the sheet, at most.
const CROPS: usize = 5;
/// Crops are enlarged by a whole number to at least this many pixels.
const LARGE: usize = 96;
/// Distance in pixels that has the strongest colour, as a share of the crop's side.
const FULL_COLOR: f32 = 0.3;
/// What the colours in the pictures of fields mean.
const LEGEND: &str = "outlines in the pictures of fields: green = crop, yellow = crop with a flag in the column quality, red = left out for its quality, blue = too near the edge for a crop";

/// What became of a nucleus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// A crop without flags.
    Crop,
    /// A crop whose nucleus is flagged.
    Flagged,
    /// Left out for its quality.
    Rejected,
    /// Too near the edge for a crop.
    Outside,
}

impl Fate {
    fn color(self) -> Rgb {
        match self {
            Self::Crop => [60, 220, 60],
            Self::Flagged => [255, 190, 0],
            Self::Rejected => [255, 50, 50],
            Self::Outside => [70, 150, 255],
        }
    }
}

/// Rows of the manifest whose fields get a picture.
pub(super) fn pictured(options: &Options, fields: &[&FieldSpec]) -> BTreeSet<usize> {
    if options.preview.is_none() {
        return BTreeSet::new();
    }
    let count = fields.len().min(FIELDS);
    (0..count)
        .map(|i| fields[i * fields.len() / count].row)
        .collect()
}

/// DNA and protein of a field side by side, with the outlines of its nuclei coloured by what became of them.
pub(super) fn picture(
    planes: &Planes,
    labels: &Array2<u32>,
    fates: &dyn Fn(u32) -> Fate,
) -> Array2<Rgb> {
    let panels = [&planes.nucleus, &planes.protein]
        .map(|p| outlines(p.view(), labels.view(), &|label| fates(label).color()));
    beside(&panels, 6)
}

/// The folder of pictures in the making.
pub(super) struct Preview {
    output: Output,
    rows: Vec<(String, Vec<Array2<Rgb>>)>,
    pictured: BTreeSet<usize>,
}

impl Preview {
    /// Claims the output; `None` if no preview is wanted.
    pub(super) fn open(
        options: &Options,
        pictured: &BTreeSet<usize>,
    ) -> Result<Option<Self>, Failure> {
        let Some(path) = &options.preview else {
            return Ok(None);
        };
        Ok(Some(Self {
            output: Output::folder(path, options.common.overwrite)?,
            rows: Vec::new(),
            pictured: pictured.clone(),
        }))
    }

    /// Takes the picture of a finished field, and some of its crops.
    pub(super) fn add(
        &mut self,
        field: &FieldSpec,
        parts: &Parts,
        crops: Option<&Array5<f32>>,
    ) -> Result<(), Failure> {
        if !self.pictured.contains(&field.row) {
            return Ok(());
        }
        let drawn = parts.picture(field);
        if drawn.is_file() {
            let path = self.output.path().join(file_name(&field.fov));
            std::fs::copy(&drawn, &path).map_err(|e| Failure::from(e).context(path.display()))?;
        }
        if let Some(crops) = crops {
            let count = crops.len_of(Axis(0)).min(CROPS);
            let step = |i: usize| i * crops.len_of(Axis(0)) / count.max(1);
            let tiles = (0..count)
                .map(|i| tile(crops.index_axis(Axis(0), step(i))))
                .collect();
            self.rows
                .push((format!("{} ({})", field.fov, field.protein), tiles));
        }
        Ok(())
    }

    /// Draws the sheet and gives the folder its name.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let title = "protein | DNA | distance to the outline (red inside, blue outside)";
        let mut rows = self.rows;
        rows.push((LEGEND.to_string(), Vec::new()));
        let path = self.output.path().join("crops.png");
        plot::save(&Sheet::new(title, rows), &path)?;
        self.output.commit()
    }
}

/// A file name that holds no separator of folders.
fn file_name(fov: &str) -> String {
    let safe = |c: char| {
        if matches!(c, '/' | '\\' | ':' | '\0') {
            '_'
        } else {
            c
        }
    };
    format!("field_{}.png", fov.chars().map(safe).collect::<String>())
}

/// The channels of a crop side by side, of a crop with slices the one in the middle.
fn tile(crop: ArrayView4<'_, f32>) -> Array2<Rgb> {
    let crop = crop.index_axis(Axis(1), crop.len_of(Axis(1)) / 2);
    let (_, h, w) = crop.dim();
    let factor = LARGE.div_ceil(h.max(1)).clamp(1, 8);
    let panels: Vec<Array2<Rgb>> = crop
        .outer_iter()
        .zip(super::CHANNELS)
        .map(|(image, name)| {
            let small: Array2<Rgb> = if name == "nucdist" {
                image.mapv(|d| {
                    let color = diverging(f64::from(d / (FULL_COLOR * w as f32)));
                    [color.0, color.1, color.2]
                })
            } else {
                stretched(image).mapv(|v| [v; 3])
            };
            Array2::from_shape_fn((h * factor, w * factor), |(y, x)| {
                small[[y / factor, x / factor]]
            })
        })
        .collect();
    beside(&panels, 1)
}

/// Writes the picture of one field.
pub(super) fn write(path: &Path, picture: &Array2<Rgb>) -> Result<(), Failure> {
    Ok(write_png_rgb(path, picture.view())?)
}
