//! One field: from its files to its crops.

use std::path::Path;

use cytoself_io::{CropTable, FieldReader, FieldSpec, Manifest, Value, read_image, to_labels};
use cytoself_segment::{
    CropWindow, FieldParams, NucleusQuality, QualityLimits, Region, SegmentParams, assess_nuclei,
    classify_field, crop_windows, import_labels, regions, segment,
};
use ndarray::{Array2, Array5, s};

use super::cut;
use super::options::{Finder, Options};
use super::planes::{Planes, Stacks, first_path};
use super::preview::{Fate, picture};
use crate::cli::Failure;
use crate::plot::Rgb;

/// What a field gave.
pub(super) struct FieldCrops {
    /// `[n, 3, z, h, w]`: protein, DNA, signed distance in pixels; flat crops have one slice.
    pub images: Array5<f32>,
    /// One row per crop.
    pub table: CropTable,
    /// Class of the field.
    pub class: String,
    /// Method that found the nuclei.
    pub method: String,
    /// Nuclei found.
    pub nuclei: usize,
    /// Nuclei whose window leaves the field.
    pub outside: usize,
    /// Nuclei left out for their quality.
    pub rejected: usize,
    /// The field with the outlines of its nuclei, if asked for.
    pub picture: Option<Array2<Rgb>>,
}

/// Reads a field, finds its nuclei and cuts its crops.
pub(super) fn crops_of(
    options: &Options,
    manifest: &Manifest,
    field: &FieldSpec,
    pictured: bool,
) -> Result<FieldCrops, Failure> {
    let source = FieldReader::default().open(field)?;
    let planes = Planes::read(options, field, &source)?;
    let (labels, method) = nuclei(options, manifest, field, &planes)?;
    let found = regions(labels.view());
    let class = classify_field(&found, labels.dim(), &FieldParams::default()).to_string();
    let quality = assess_nuclei(
        planes.nucleus.view(),
        labels.view(),
        &QualityLimits::default(),
    )?;
    let (windows, outside) = crop_windows(&found, labels.dim(), options.crop_size);
    let kept: Vec<Nucleus<'_>> = windows
        .iter()
        .filter_map(|w| Nucleus::find(w, &found, &quality))
        .filter(|n| n.is_wanted(options))
        .collect();
    let rejected = windows.len() - kept.len();
    let cells = planes.cells(options, &labels)?;
    let windows_kept: Vec<CropWindow> = kept.iter().map(|n| n.window).collect();
    let images = match options.slices {
        1 => cut::flat(options, &planes, &labels, &cells, &windows_kept),
        _ => {
            let stacks = Stacks::read(options, field, &source, &planes, &labels)?;
            cut::stacks(options, &stacks, &cells, &windows_kept)
        }
    };
    let mut table = CropTable::new();
    for nucleus in &kept {
        nucleus.push(&mut table, planes.factor, field, [&class, &method])?;
    }
    let fate = |label: u32| match kept.iter().find(|n| n.region.label == label) {
        Some(nucleus) if nucleus.quality.flags.is_ok() => Fate::Crop,
        Some(_) => Fate::Flagged,
        None if windows.iter().any(|w| w.label == label) => Fate::Rejected,
        None => Fate::Outside,
    };
    let picture = pictured.then(|| picture(&planes, &labels, &fate));
    Ok(FieldCrops {
        images,
        table,
        class,
        method,
        nuclei: found.len(),
        outside,
        rejected,
        picture,
    })
}

/// Labels at the resolution of crops, and the method that made them.
fn nuclei(
    options: &Options,
    manifest: &Manifest,
    field: &FieldSpec,
    planes: &Planes,
) -> Result<(Array2<u32>, String), Failure> {
    let method = match options.method {
        Finder::Segment(method) => method,
        Finder::Labels => {
            let column = options.label_column();
            let path = manifest.path_in(column, field.row).ok_or_else(|| {
                Failure::input(format!(
                    "{}: row {}: column {column} is empty, expected the path of a label image",
                    options.manifest.display(),
                    field.row
                ))
            })?;
            return Ok((foreign_labels(&path, planes)?, "labels".to_string()));
        }
    };
    let params = SegmentParams::default()
        .method(method)
        .diameter(options.diameter);
    let found = segment(planes.nucleus.view(), &params)
        .map_err(|e| Failure::from(e).context(first_path(field)))?;
    Ok((found.labels, found.method.to_string()))
}

/// A label image of another program, at the resolution of the field or of the crops.
fn foreign_labels(path: &Path, planes: &Planes) -> Result<Array2<u32>, Failure> {
    let labels = to_labels(path, &read_image(path)?)?;
    let (h, w) = planes.nucleus.dim();
    let labels = if labels.dim() == (h, w) {
        labels
    } else if labels.shape() == planes.full {
        // A label cannot be averaged: the pixel at the middle of each block stands for it.
        let [step, column_step] = [planes.full[0] / h, planes.full[1] / w];
        labels
            .slice(s![step / 2..h * step;step, column_step / 2..w * column_step;column_step])
            .to_owned()
    } else {
        return Err(Failure::input(format!(
            "{}: the label image has {:?} px, expected those of the field, {:?}, or of the crops, {h} x {w}",
            path.display(),
            labels.shape(),
            planes.full
        )));
    };
    Ok(import_labels(labels.view(), 1, false))
}

/// A nucleus whose crop lies inside the field.
struct Nucleus<'a> {
    window: CropWindow,
    region: &'a Region,
    quality: &'a NucleusQuality,
}

impl<'a> Nucleus<'a> {
    fn find(
        window: &CropWindow,
        regions: &'a [Region],
        quality: &'a [NucleusQuality],
    ) -> Option<Self> {
        let region = regions.iter().find(|r| r.label == window.label)?;
        let quality = quality.iter().find(|q| q.label == window.label)?;
        Some(Self {
            window: *window,
            region,
            quality,
        })
    }

    fn is_wanted(&self, options: &Options) -> bool {
        let flags = self.quality.flags.to_string();
        let flagged = flags
            .split(';')
            .any(|f| options.reject.iter().any(|r| r == f));
        !flagged
            && options
                .max_outlier
                .is_none_or(|limit| self.quality.outlier <= limit)
    }

    /// Adds the row of the crop; positions are in pixels of the field, `scale` of which make one of the crop.
    fn push(
        &self,
        table: &mut CropTable,
        factor: usize,
        field: &FieldSpec,
        found: [&str; 2],
    ) -> Result<(), Failure> {
        let scale = factor as f64;
        let (q, [class, method]) = (self.quality, found);
        let crop = format!("{}:{}", field.fov, self.region.label);
        let flags = q.flags.to_string();
        let text = |v| Value::Text(v);
        table.push(&[
            ("crop", text(&crop)),
            ("protein", text(&field.protein)),
            ("fov", text(&field.fov)),
            ("plate", text(&field.plate)),
            ("y", Value::Number(self.window.row as f64 * scale)),
            ("x", Value::Number(self.window.column as f64 * scale)),
            ("scale", Value::Number(scale)),
            ("split", text("")),
            ("localization", text(&field.localization)),
            ("quality", text(&flags)),
            ("outlier", Value::Number(q.outlier)),
            ("area", Value::Number(q.area)),
            ("eccentricity", Value::Number(q.eccentricity)),
            ("solidity", Value::Number(q.solidity)),
            ("brightness", Value::Number(q.brightness)),
            ("texture", Value::Number(q.texture)),
            ("edge_width", Value::Number(q.edge_width)),
            ("saturation", Value::Number(q.saturation)),
            ("field_class", text(class)),
            ("method", text(method)),
        ])?;
        Ok(())
    }
}
