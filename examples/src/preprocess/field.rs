//! One field: from its files to its crops.

use std::path::Path;

use cytoself_io::{
    CropTable, FieldPlanes, FieldReader, FieldSpec, Manifest, Plane, Value, read_image, to_labels,
};
use cytoself_segment::{
    CropWindow, FieldParams, IntensityRange, Normalization, NucleusQuality, ProjectionOrder,
    QualityLimits, Region, SegmentParams, assess_nuclei, classify_field, crop_windows,
    downsample_mean, import_labels, raise, regions, segment, signed_distance,
};
use ndarray::{Array2, Array4, ArrayView2, Axis, s};

use super::channels::protein_and_nucleus;
use super::options::{Finder, Options};
use super::preview::{Fate, picture};
use crate::cli::Failure;
use crate::plot::Rgb;

/// What a field gave.
pub(super) struct FieldCrops {
    /// `[n, 3, h, w]`: protein, DNA, signed distance in pixels.
    pub images: Array4<f32>,
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

/// The two channels of a field at the resolution of crops.
pub(super) struct Planes {
    pub protein: Array2<f32>,
    pub nucleus: Array2<f32>,
    /// Height and width of the field before downsampling.
    full: [usize; 2],
    /// Pixels of the field per pixel of a crop.
    factor: usize,
}

/// Reads a field, finds its nuclei and cuts its crops.
pub(super) fn crops_of(
    options: &Options,
    manifest: &Manifest,
    field: &FieldSpec,
    pictured: bool,
) -> Result<FieldCrops, Failure> {
    let planes = read_planes(options, field)?;
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
    let images = cut(options, &planes, &labels, &kept);
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

fn read_planes(options: &Options, field: &FieldSpec) -> Result<Planes, Failure> {
    let read = FieldReader::default().open(field)?;
    let [protein, nucleus] =
        protein_and_nucleus(read.channels()).map_err(|e| e.context(first_path(field)))?;
    let factor = options
        .factor(read.pixel_size_um())
        .map_err(|e| e.context(first_path(field)))?;
    let plane = |channel: usize| {
        let name = &read.channels()[channel];
        let image = project_planes(&read, channel, factor, options.order())?;
        check_finite(&image, name, factor).map_err(|e| e.context(first_path(field)))?;
        Ok::<_, Failure>(image)
    };
    let (protein, nucleus_plane) = (plane(protein)?, plane(nucleus)?);
    let [h, w] = read.shape();
    if nucleus_plane.is_empty() {
        let found = format!("expected at least {factor} x {factor} px, found {h} x {w}");
        return Err(Failure::input(found).context(first_path(field)));
    }
    Ok(Planes {
        protein,
        nucleus: nucleus_plane,
        full: [h, w],
        factor,
    })
}

fn first_path(field: &FieldSpec) -> String {
    field
        .paths
        .first()
        .map_or_else(|| field.fov.clone(), |p| p.display().to_string())
}

/// Projection slice by slice, in the type of the file: a stack is never in memory as a whole.
fn project_planes(
    planes: &FieldPlanes,
    channel: usize,
    factor: usize,
    order: ProjectionOrder,
) -> Result<Array2<f32>, Failure> {
    let slices = (0..planes.slices()).map(|z| planes.read(channel, z));
    if order == ProjectionOrder::DownsampleFirst {
        let mut highest: Option<Array2<f32>> = None;
        for slice in slices {
            let slice = downsample_mean(slice?.to_f32().view(), factor);
            match &mut highest {
                None => highest = Some(slice),
                Some(highest) => raise(highest, slice.view()),
            }
        }
        let [h, w] = planes.shape();
        return Ok(highest.unwrap_or_else(|| Array2::zeros((h / factor, w / factor))));
    }
    let mut highest: Option<Plane> = None;
    for slice in slices {
        highest = Some(match (highest, slice?) {
            (Some(Plane::U8(mut highest)), Plane::U8(slice)) => {
                raise(&mut highest, slice.view());
                Plane::U8(highest)
            }
            (Some(Plane::U16(mut highest)), Plane::U16(slice)) => {
                raise(&mut highest, slice.view());
                Plane::U16(highest)
            }
            (None, first) => first,
            (Some(highest), slice) => {
                let mut highest = highest.to_f32();
                raise(&mut highest, slice.to_f32().view());
                Plane::F32(highest)
            }
        });
    }
    let image = highest.map_or_else(|| Array2::zeros((0, 0)), |plane| plane.to_f32());
    Ok(downsample_mean(image.view(), factor))
}

fn check_finite(image: &Array2<f32>, channel: &str, factor: usize) -> Result<(), Failure> {
    match image.indexed_iter().find(|(_, v)| !v.is_finite()) {
        None => Ok(()),
        Some(((y, x), value)) => Err(Failure::input(format!(
            "channel {channel}: a pixel at row {}, column {} is {value}, expected finite values; repair the image or leave the field out",
            y * factor,
            x * factor
        ))),
    }
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

/// The crops of the wanted nuclei.
fn cut(
    options: &Options,
    planes: &Planes,
    labels: &Array2<u32>,
    kept: &[Nucleus<'_>],
) -> Array4<f32> {
    let distance = signed_distance(labels.view());
    let size = options.crop_size;
    let fov = [&planes.protein, &planes.nucleus].map(|p| IntensityRange::of(p.view()));
    let mut images = Array4::zeros((kept.len(), super::CHANNELS.len(), size, size));
    for (nucleus, mut crop) in kept.iter().zip(images.outer_iter_mut()) {
        let window = |image: ArrayView2<'_, f32>| nucleus.window.cut(image).to_owned();
        for (channel, plane) in [&planes.protein, &planes.nucleus].into_iter().enumerate() {
            let mut pixels = window(plane.view());
            let range = match options.normalization() {
                Normalization::Crop => IntensityRange::of(pixels.view()),
                Normalization::Fov => fov[channel],
            };
            range.apply(pixels.view_mut());
            crop.index_axis_mut(Axis(0), channel).assign(&pixels);
        }
        crop.index_axis_mut(Axis(0), 2)
            .assign(&window(distance.view()));
    }
    images
}
