//! `simulate`: fields of cells with known localisation, as OME-TIFF stacks with manifest and truth.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, Failure, HasCommon};
use cytoself_examples::output::Output;
use cytoself_examples::progress::Progress;
use cytoself_examples::simulate::{Simulation, SimulationParams, write_dataset};

/// Simulates microscope fields of cells with tagged proteins of known localisation.
///
/// Writes images/*.ome.tif (a 16-bit z-stack of DNA and protein), manifest.csv, truth/*_nuclei.png (labels),
/// groups.csv (protein, localisation), complexes.csv (protein, complex) and simulation.toml.
#[derive(Debug, Parser)]
#[command(
    name = "simulate",
    version,
    after_help = "Example:\n  cargo run --release --example simulate -- --out out/fields --proteins 27 --fields-per-protein 4 --z-slices 6"
)]
struct Arguments {
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Tagged proteins, dealt to nine localisation classes
    #[arg(long, value_name = "N", default_value_t = 30)]
    proteins: usize,
    /// Fields of each protein
    #[arg(long, value_name = "N", default_value_t = 6)]
    fields_per_protein: usize,
    /// Columns and rows of a field, pixels of 0.206 um
    #[arg(long, value_name = "PX", default_value_t = 1024)]
    field_size: usize,
    /// Slices of a stack: 22 span 11 um
    #[arg(long, value_name = "N", default_value_t = 22)]
    z_slices: usize,
    /// Plates, which differ in light, background and camera
    #[arg(long, value_name = "N", default_value_t = 3)]
    plates: usize,
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
    let common = &arguments.common;
    let simulation = Simulation::new(SimulationParams {
        proteins: arguments.proteins,
        fields_per_protein: arguments.fields_per_protein,
        field_size: arguments.field_size,
        z_slices: arguments.z_slices,
        plates: arguments.plates,
        seed: common.seed,
        ..SimulationParams::default()
    })?;
    let fields = simulation.fields().len();
    common.say(format!(
        "simulating {fields} fields of {} proteins, seed {}",
        arguments.proteins, common.seed
    ));
    let output = Output::folder(&arguments.out, common.overwrite)?;
    let progress = Progress::new("simulating fields", fields as u64, common.quiet);
    write_dataset(output.path(), &simulation, |done, _| progress.update(done))?;
    drop(progress);
    output.commit()?;
    common.say(format!(
        "{}: manifest.csv lists {fields} fields",
        arguments.out.display()
    ));
    Ok(())
}
