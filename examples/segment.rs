//! `segment`: nuclei of one image as labels.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, Failure, HasCommon};
use cytoself_examples::output::Output;
use cytoself_examples::plot::{class_color, outlines};
use cytoself_io::{npy, read_image, write_png_rgb, write_png_u16};
use cytoself_segment::{Method, SegmentParams, Segmentation, segment, signed_distance};
use ndarray::Array2;

/// Find the nuclei of one DNA-stained image.
///
/// Writes a 16-bit label image (0 is background) and, on request, the signed distance to the outlines and the
/// intermediate masks. Nuclei at the edge of the image are left out unless --keep-edges is given.
#[derive(Debug, Parser)]
#[command(
    name = "segment",
    after_help = "Example:\n  cargo run --release --example segment -- --input field.tif --output labels.png --distance d.npy"
)]
struct Arguments {
    /// Image with one channel and one plane, PNG or TIFF
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Label image to write (16-bit PNG)
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Signed distance to write (npy, f32, pixels, positive inside)
    #[arg(long, value_name = "FILE")]
    distance: Option<PathBuf>,
    /// Folder for background.npy, refined.npy, cleaned.npy and watershed.npy
    #[arg(long, value_name = "DIR")]
    steps: Option<PathBuf>,
    /// Picture of the outlines over the image (PNG)
    #[arg(long, value_name = "FILE")]
    outlines: Option<PathBuf>,
    /// Diameter of nuclei divided by 60 px
    #[arg(long, value_name = "S", conflicts_with = "diameter")]
    scale: Option<f64>,
    /// Diameter of nuclei in pixels [default: estimated from the image]
    #[arg(long, value_name = "PX")]
    diameter: Option<f64>,
    /// auto, opencell or local
    #[arg(long, value_name = "M", default_value = "auto")]
    method: Method,
    /// Keep nuclei that touch the edge of the image
    #[arg(long)]
    keep_edges: bool,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(body)
}

fn body(arguments: Arguments) -> Result<(), Failure> {
    let overwrite = arguments.common.overwrite;
    // All outputs are claimed before the work, so that an existing one is refused at once.
    let labels_file = Output::file(&arguments.output, overwrite)?;
    let distance_file = arguments
        .distance
        .as_deref()
        .map(|p| Output::file(p, overwrite))
        .transpose()?;
    let steps_folder = arguments
        .steps
        .as_deref()
        .map(|p| Output::folder(p, overwrite))
        .transpose()?;

    let outlines_file = arguments
        .outlines
        .as_deref()
        .map(|p| Output::file(p, overwrite))
        .transpose()?;

    let image = read_image(&arguments.input)?.to_f32();
    let mut params = SegmentParams::default()
        .method(arguments.method)
        .keep_edges(arguments.keep_edges);
    params = match arguments.scale {
        Some(scale) => params.scale(scale),
        None => params.diameter(arguments.diameter),
    };
    let found = segment(image.view(), &params)
        .map_err(|e| Failure::from(e).context(arguments.input.display()))?;

    write_png_u16(
        labels_file.path(),
        sixteen_bits(&found.labels, &arguments.input)?.view(),
    )?;
    labels_file.commit()?;
    if let Some(file) = distance_file {
        npy::write(file.path(), &signed_distance(found.labels.view()))?;
        file.commit()?;
    }
    if let Some(file) = outlines_file {
        let color = |label: u32| {
            let color = class_color(label as usize);
            [color.0, color.1, color.2]
        };
        let drawn = outlines(image.view(), found.labels.view(), &color);
        write_png_rgb(file.path(), drawn.view())?;
        file.commit()?;
    }
    if let Some(folder) = steps_folder {
        write_steps(folder.path(), &found)?;
        folder.commit()?;
    }
    let nuclei = found.labels.iter().max().copied().unwrap_or(0);
    arguments.common.say(format_args!(
        "{}: {nuclei} nuclei, method {}, diameter {:.1} px (scale {:.3})",
        arguments.input.display(),
        found.method,
        found.diameter,
        found.diameter / 60.0
    ));
    Ok(())
}

/// The labels as they fit a 16-bit PNG.
fn sixteen_bits(labels: &Array2<u32>, input: &Path) -> Result<Array2<u16>, Failure> {
    let largest = labels.iter().max().copied().unwrap_or(0);
    if largest > u32::from(u16::MAX) {
        let input = input.display();
        return Err(Failure::input(format!(
            "{input}: {largest} nuclei, expected at most 65535 in a 16-bit label image; cut the image into tiles"
        )));
    }
    Ok(labels.mapv(|l| l as u16))
}

fn write_steps(folder: &Path, found: &Segmentation) -> Result<(), Failure> {
    let masks = [
        ("background", &found.steps.background),
        ("refined", &found.steps.refined),
        ("cleaned", &found.steps.cleaned),
    ];
    for (name, mask) in masks {
        npy::write(&folder.join(format!("{name}.npy")), &mask.mapv(u8::from))?;
    }
    npy::write(&folder.join("watershed.npy"), &found.steps.watershed)?;
    Ok(())
}
