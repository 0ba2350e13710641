//! The channels of a field at the resolution of crops.

use cytoself_io::{FieldPlanes, FieldSpec, Plane};
use cytoself_segment::{
    CellParams, ProjectionOrder, cell_outlines, downsample_mean, nuclei_in_3d, raise,
    signed_distance_3d, slices_around,
};
use ndarray::{Array2, Array3, Axis, s};

use super::channels::protein_and_nucleus;
use super::options::Options;
use crate::cli::Failure;

/// The channels of a field, projected over z and downsampled.
pub(super) struct Planes {
    pub protein: Array2<f32>,
    pub nucleus: Array2<f32>,
    /// The channel that shows where cells end, if one was named.
    marker: Option<Array2<f32>>,
    /// Indices of protein and DNA in the file.
    channels: [usize; 2],
    /// Height and width of the field before downsampling.
    pub full: [usize; 2],
    /// Pixels of the field per pixel of a crop.
    pub factor: usize,
}

impl Planes {
    /// Reads and projects the channels of a field.
    pub(super) fn read(
        options: &Options,
        field: &FieldSpec,
        source: &FieldPlanes,
    ) -> Result<Self, Failure> {
        let here = |e: Failure| e.context(first_path(field));
        let channels = protein_and_nucleus(source.channels()).map_err(here)?;
        let factor = options.factor(source.pixel_size_um()).map_err(here)?;
        let plane = |channel: usize| {
            let name = &source.channels()[channel];
            let image = project_planes(source, channel, factor, options.order())?;
            check_finite(&image, name, factor).map_err(here)?;
            Ok::<_, Failure>(image)
        };
        let marker = options
            .marker_channel(source.channels())
            .map_err(here)?
            .map(plane)
            .transpose()?;
        let [protein, nucleus] = channels;
        let (protein, nucleus) = (plane(protein)?, plane(nucleus)?);
        let [h, w] = source.shape();
        if nucleus.is_empty() {
            let found = format!("expected at least {factor} x {factor} px, found {h} x {w}");
            return Err(here(Failure::input(found)));
        }
        Ok(Self {
            protein,
            nucleus,
            marker,
            channels,
            full: [h, w],
            factor,
        })
    }

    /// The cells around the nuclei, with their labels; without a marker a cell is its nucleus.
    pub(super) fn cells(
        &self,
        options: &Options,
        nuclei: &Array2<u32>,
    ) -> Result<Array2<u32>, Failure> {
        let Some(marker) = self.marker.as_ref().filter(|_| options.mask_neighbours) else {
            return Ok(nuclei.clone());
        };
        let params = CellParams {
            marker: options.stain(),
            ..CellParams::default()
        };
        Ok(cell_outlines(marker.view(), nuclei.view(), &params)?)
    }
}

/// The slices around the middle of the cell layer.
pub(super) struct Stacks {
    /// Protein and DNA, `[z, h, w]`.
    pub channels: [Array3<f32>; 2],
    /// Signed distance to the nuclei's surface, in pixels of the plane.
    pub distance: Array3<f32>,
}

impl Stacks {
    /// Reads the slices and finds the nuclei in them, from their outlines in the projection.
    pub(super) fn read(
        options: &Options,
        field: &FieldSpec,
        source: &FieldPlanes,
        planes: &Planes,
        nuclei: &Array2<u32>,
    ) -> Result<Self, Failure> {
        let here = |e: Failure| e.context(first_path(field));
        let [protein, dna] = planes.channels;
        let stack = |channel| stack_of(source, channel, planes.factor, planes.nucleus.dim());
        let dna = stack(dna)?;
        let wanted = options.slices;
        let range = slices_around(dna.view(), wanted).ok_or_else(|| {
            let found = source.slices();
            here(Failure::input(format!(
                "--z-slices {wanted}: expected a stack of at least as many slices, found {found}"
            )))
        })?;
        let (Some(pixel), Some(step)) = (source.pixel_size_um(), source.z_step_um()) else {
            return Err(here(Failure::input(format!(
                "--z-slices {wanted}: expected the size of a voxel, found none in the file; fill in the columns pixel_size_um and z_step_um of the manifest"
            ))));
        };
        let inside = nuclei_in_3d(dna.view(), nuclei.view())?;
        let distance = signed_distance_3d(inside.view(), step / (pixel * planes.factor as f64))?;
        let part = |stack: &Array3<f32>| stack.slice(s![range.clone(), .., ..]).to_owned();
        Ok(Self {
            channels: [part(&stack(protein)?), part(&dna)],
            distance: part(&distance),
        })
    }
}

/// All slices of a channel, downsampled.
fn stack_of(
    source: &FieldPlanes,
    channel: usize,
    factor: usize,
    (h, w): (usize, usize),
) -> Result<Array3<f32>, Failure> {
    let mut out = Array3::zeros((source.slices(), h, w));
    for (z, mut slice) in out.axis_iter_mut(Axis(0)).enumerate() {
        let plane = source.read(channel, z)?.to_f32();
        slice.assign(&downsample_mean(plane.view(), factor));
    }
    Ok(out)
}

/// The field's first file, for messages.
pub(super) fn first_path(field: &FieldSpec) -> String {
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
