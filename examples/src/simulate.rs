//! Simulated fields of cells with known localisation: crowded colonies, organelles in three dimensions, real optics.
//!
//! A data set is planned by [`Simulation::new`], each of its fields is taken by [`Simulation::field`], and
//! [`write_dataset`] puts everything into a folder that `preprocess` reads. What is drawn, and where it departs from
//! nature, is in `docs/simulator.md`.

mod camera;
mod cell;
mod field;
mod optics;
mod pattern;
mod placement;
mod plane;
mod protein;
mod rng;
mod scene;
mod volume;
mod write;

pub use cell::PIXEL_UM;
pub use field::{FieldPlan, SimulatedField, z_step_um};
pub use pattern::Localization;
pub use protein::Protein;
pub use write::write_dataset;

use serde::Serialize;

use crate::cli::Failure;
use camera::Plate;
use field::Stack;
use rng::Rng;

/// What a simulated data set holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SimulationParams {
    /// Tagged proteins, dealt to nine localisation classes.
    pub proteins: usize,
    /// Fields of each protein.
    pub fields_per_protein: usize,
    /// Columns and rows of a field, pixels.
    pub field_size: usize,
    /// Slices of a stack.
    pub z_slices: usize,
    /// Plates; every third field of a protein is on another plate than the rest.
    pub plates: usize,
    /// Range of the nuclei per 1024 x 1024 pixels; each field draws its own.
    pub density: (f32, f32),
    /// Seed of everything.
    pub seed: u64,
}

impl Default for SimulationParams {
    fn default() -> Self {
        Self {
            proteins: 30,
            fields_per_protein: 6,
            field_size: 1024,
            z_slices: 22,
            plates: 3,
            density: (45.0, 100.0),
            seed: 42,
        }
    }
}

/// The data set of `quickstart`: about 6,300 crops of 100 x 100 pixels from 240 fields.
#[must_use]
pub fn quickstart_params() -> SimulationParams {
    SimulationParams {
        proteins: 30,
        fields_per_protein: 8,
        field_size: 768,
        z_slices: 4,
        density: (70.0, 105.0),
        ..SimulationParams::default()
    }
}

impl SimulationParams {
    /// # Errors
    /// - a number is outside its range; the message says which and what is allowed.
    pub fn check(&self) -> Result<(), Failure> {
        let ranges = [
            ("--proteins", self.proteins, 1, 5000),
            ("--fields-per-protein", self.fields_per_protein, 1, 1000),
            ("--field-size", self.field_size, 256, 4096),
            ("--z-slices", self.z_slices, 1, 200),
            ("--plates", self.plates, 1, 99),
        ];
        for (flag, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Err(Failure::input(format!(
                    "{flag} {value}: expected {low} to {high}"
                )));
            }
        }
        let (low, high) = self.density;
        if !(low >= 1.0 && high <= 150.0 && low <= high) {
            return Err(Failure::input(format!(
                "nuclei per field {low} to {high}: expected a range within 1 to 150"
            )));
        }
        Ok(())
    }
}

/// A planned data set.
#[derive(Debug, Clone)]
pub struct Simulation {
    params: SimulationParams,
    proteins: Vec<Protein>,
    plates: Vec<Plate>,
    fields: Vec<FieldPlan>,
}

impl Simulation {
    /// Plans a data set: its proteins, plates and fields.
    ///
    /// # Errors
    /// - the parameters are out of range, see [`SimulationParams::check`].
    pub fn new(params: SimulationParams) -> Result<Self, Failure> {
        params.check()?;
        let proteins = protein::deal(params.proteins, params.plates, params.seed);
        let plates: Vec<Plate> = (0..params.plates)
            .map(|i| Plate::draw(i, &mut Rng::new(params.seed, &[0, i as u64])))
            .collect();
        let mut fields = Vec::with_capacity(params.proteins * params.fields_per_protein);
        for (index, protein) in proteins.iter().enumerate() {
            for take in 0..params.fields_per_protein {
                // Every third field is a repeat on the next plate.
                let plate = (protein.plate + usize::from(take % 3 == 2)) % params.plates;
                let fov = format!("{}_{}_{:02}", plates[plate].name, protein.name, take + 1);
                fields.push(FieldPlan {
                    fov,
                    index: fields.len(),
                    protein: index,
                    plate,
                });
            }
        }
        Ok(Self {
            params,
            proteins,
            plates,
            fields,
        })
    }

    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &SimulationParams {
        &self.params
    }

    /// The proteins.
    #[must_use]
    pub fn proteins(&self) -> &[Protein] {
        &self.proteins
    }

    /// The fields, protein after protein.
    #[must_use]
    pub fn fields(&self) -> &[FieldPlan] {
        &self.fields
    }

    /// Name of a plate.
    #[must_use]
    pub fn plate_name(&self, plan: &FieldPlan) -> &str {
        &self.plates[plan.plate].name
    }

    /// Takes one field. Fields are independent of each other and may be taken in any order on any thread.
    #[must_use]
    pub fn field(&self, plan: &FieldPlan) -> SimulatedField {
        let stack = Stack {
            size: self.params.field_size,
            slices: self.params.z_slices,
            density: self.params.density,
        };
        field::simulate_field(
            plan,
            &self.proteins[plan.protein],
            &self.plates[plan.plate],
            stack,
            self.params.seed,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use ndarray::Axis;

    use super::*;

    fn small() -> Simulation {
        let params = SimulationParams {
            proteins: 9,
            fields_per_protein: 1,
            field_size: 256,
            z_slices: 2,
            ..SimulationParams::default()
        };
        Simulation::new(params).unwrap()
    }

    #[test]
    fn the_same_bits_at_any_thread_count() {
        let write = |threads| {
            let folder = tempfile::tempdir().unwrap();
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                write_dataset(folder.path(), &small(), |_, _| ControlFlow::Continue(()))
            })
            .unwrap();
            let mut files: Vec<_> = ["images", "truth"]
                .iter()
                .flat_map(|p| std::fs::read_dir(folder.path().join(p)).unwrap())
                .collect::<Result<_, _>>()
                .unwrap();
            files.sort_by_key(std::fs::DirEntry::path);
            files
                .iter()
                .map(|f| (f.file_name(), std::fs::read(f.path()).unwrap()))
                .collect::<Vec<_>>()
        };
        let one = write(1);
        assert_eq!(one.len(), 18);
        assert!(one == write(3));
    }

    #[test]
    fn nuclei_are_where_the_dna_is() {
        let simulation = small();
        for plan in simulation.fields() {
            let field = simulation.field(plan);
            let projection = field
                .stack
                .index_axis(Axis(0), 0)
                .fold_axis(Axis(0), 0, |a, b| *a.max(b));
            let mean = |inside: bool| {
                let pixels = projection.iter().zip(&field.nuclei);
                let values: Vec<f32> = pixels
                    .filter(|(_, label)| (**label > 0) == inside)
                    .map(|(count, _)| f32::from(*count))
                    .collect();
                values.iter().sum::<f32>() / values.len() as f32
            };
            assert!(
                mean(true) - mean(false) > 80.0,
                "{}: {} {}",
                plan.fov,
                mean(true),
                mean(false)
            );
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        let params = SimulationParams {
            field_size: 100,
            ..SimulationParams::default()
        };
        assert!(matches!(params.check(), Err(Failure::Input(m)) if m.contains("--field-size 100")));
    }
}
