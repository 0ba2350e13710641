//! A data set on disk: stacks, manifest, truth.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

use cytoself_io::{OmeTiff, write_ome_tiff};
use ndarray::Axis;
use rayon::prelude::*;
use serde::Serialize;

use super::field::{FieldPlan, SimulatedField, z_step_um};
use super::{PIXEL_UM, Simulation, SimulationParams};
use crate::cli::Failure;

/// Version of the layout of the folder.
const FORMAT_VERSION: u32 = 1;

/// Simulates every field on the current rayon pool and writes `images/`, `truth/`, `manifest.csv`, `groups.csv`,
/// `complexes.csv` and `simulation.toml` into `folder`, which must exist.
///
/// `progress` is told the fields done and their total; a break ends the work.
///
/// # Errors
/// - a file cannot be written;
/// - `progress` asked to stop.
pub fn write_dataset(
    folder: &Path,
    simulation: &Simulation,
    progress: impl FnMut(u64, u64) -> ControlFlow<()> + Send,
) -> Result<(), Failure> {
    for part in ["images", "truth"] {
        make_folder(&folder.join(part))?;
    }
    write_tables(folder, simulation)?;
    let total = simulation.fields().len() as u64;
    let state = Mutex::new((0u64, progress));
    simulation.fields().par_iter().try_for_each(|plan| {
        let field = simulation.field(plan);
        write_field(folder, plan, &field)?;
        let mut state = state
            .lock()
            .map_err(|_| Failure::other("the progress report failed"))?;
        state.0 += 1;
        let done = state.0;
        match (state.1)(done, total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Failure::Interrupted(format!(
                "{done} of {total} fields done; nothing is kept"
            ))),
        }
    })
}

fn write_field(folder: &Path, plan: &FieldPlan, field: &SimulatedField) -> Result<(), Failure> {
    let step = z_step_um(field.stack.len_of(Axis(1)));
    let metadata = OmeTiff::new(&["nuc", "pro"])
        .pixel_size_um(f64::from(PIXEL_UM))
        .z_step_um(f64::from(step))
        .description(&format!("simulated field {}", plan.fov));
    write_ome_tiff(
        &folder.join(image_path(plan)),
        field.stack.view(),
        &metadata,
    )?;
    write_labels(&folder.join(truth_path(plan)), field)
}

fn image_path(plan: &FieldPlan) -> String {
    format!("images/{}.ome.tif", plan.fov)
}

fn truth_path(plan: &FieldPlan) -> String {
    format!("truth/{}_nuclei.png", plan.fov)
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|e| Failure::from(e).context(path.display()))
}

fn write_labels(path: &Path, field: &SimulatedField) -> Result<(), Failure> {
    let file = fs::File::create(path).map_err(|e| Failure::from(e).context(path.display()))?;
    let side = field.nuclei.ncols() as u32;
    let mut encoder = png::Encoder::new(std::io::BufWriter::new(file), side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.set_compression(png::Compression::Fast);
    let bytes: Vec<u8> = field
        .nuclei
        .iter()
        .flat_map(|label| label.to_be_bytes())
        .collect();
    let write = || -> Result<(), png::EncodingError> {
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&bytes)?;
        writer.finish()
    };
    write().map_err(|e| Failure::from(e).context(path.display()))
}

fn write_tables(folder: &Path, simulation: &Simulation) -> Result<(), Failure> {
    let step = z_step_um(simulation.params().z_slices).to_string();
    let pixel = PIXEL_UM.to_string();
    let header = [
        "path",
        "protein",
        "fov",
        "plate",
        "channels",
        "pixel_size_um",
        "z_step_um",
        "localization",
        "nuclei",
    ];
    let rows = simulation.fields().iter().map(|plan| {
        let protein = &simulation.proteins()[plan.protein];
        vec![
            image_path(plan),
            protein.name.clone(),
            plan.fov.clone(),
            simulation.plate_name(plan).to_string(),
            "nuc;pro".to_string(),
            pixel.clone(),
            step.clone(),
            protein.localization(),
            truth_path(plan),
        ]
    });
    write_csv(&folder.join("manifest.csv"), &header, rows)?;

    let proteins = simulation.proteins();
    let groups = proteins
        .iter()
        .filter_map(|p| Some(vec![p.name.clone(), p.single_localization()?.to_string()]));
    write_csv(&folder.join("groups.csv"), &["protein", "group"], groups)?;
    let complexes = proteins.iter().filter_map(|p| {
        Some(vec![
            p.name.clone(),
            format!("complex{:02}", p.complex? + 1),
        ])
    });
    write_csv(
        &folder.join("complexes.csv"),
        &["protein", "group"],
        complexes,
    )?;
    write_record(&folder.join("simulation.toml"), simulation.params())
}

fn write_csv(
    path: &Path,
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<(), Failure> {
    let write = || -> Result<(), csv::Error> {
        let mut writer = csv::Writer::from_path(path)?;
        writer.write_record(header)?;
        for row in rows {
            writer.write_record(&row)?;
        }
        writer.flush()?;
        Ok(())
    };
    write().map_err(|e| Failure::from(e).context(path.display()))
}

#[derive(Serialize)]
struct Record<'a> {
    format: &'static str,
    format_version: u32,
    tool: &'static str,
    tool_version: &'static str,
    parameters: &'a SimulationParams,
}

fn write_record(path: &Path, parameters: &SimulationParams) -> Result<(), Failure> {
    let record = Record {
        format: "cytoself simulated fields",
        format_version: FORMAT_VERSION,
        tool: "simulate",
        tool_version: env!("CARGO_PKG_VERSION"),
        parameters,
    };
    let text = toml::to_string(&record).map_err(Failure::other)?;
    fs::write(path, text).map_err(|e| Failure::from(e).context(path.display()))
}
