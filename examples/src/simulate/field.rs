//! One field of view, from its cells to the counts of the camera.

use ndarray::{Array2, Array4};

use super::camera::Plate;
use super::optics::{Illumination, Optics};
use super::pattern::dna_density;
use super::placement::place_cells;
use super::plane::Plane;
use super::protein::Protein;
use super::rng::Rng;
use super::scene::{Column, Scene};
use super::volume::{Texture, Volume};

/// Largest distance of the slices of a stack, um; 22 slices span 11 um.
const MAX_STEP_UM: f32 = 1.5;
const SPAN_UM: f32 = 11.0;
/// Middle of the cell layer above the glass, um.
const FOCUS_UM: f32 = 4.4;
/// Largest distance of the slices in which the specimen is drawn, um.
const DRAWN_STEP_UM: f32 = 0.8;

const PLACEMENT: u64 = 11;
const SPECIMEN: u64 = 12;
const CAMERA: u64 = 13;

/// Everything that decides a field.
#[derive(Debug, Clone)]
pub struct FieldPlan {
    /// Name, e.g. `plate01_MITO1_02`.
    pub fov: String,
    /// Number of the field in the data set.
    pub index: usize,
    /// Number of the protein in the data set.
    pub protein: usize,
    /// Number of the plate.
    pub plate: usize,
}

/// A simulated field.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedField {
    /// Counts `[channel, z, y, x]`: DNA first, then protein; the lowest slice first.
    pub stack: Array4<u16>,
    /// Truth `[y, x]`: 0 outside nuclei, a number per nucleus inside.
    pub nuclei: Array2<u16>,
}

/// The distance of slices of a stack, um.
#[must_use]
pub fn z_step_um(slices: usize) -> f32 {
    (SPAN_UM / slices as f32).min(MAX_STEP_UM)
}

/// Takes the stack of a field. The same arguments give the same bits.
#[must_use]
pub fn simulate_field(
    plan: &FieldPlan,
    protein: &Protein,
    plate: &Plate,
    stack: Stack,
    seed: u64,
) -> SimulatedField {
    let stream = |purpose| Rng::new(seed, &[purpose, plan.index as u64]);
    let mut rng = stream(PLACEMENT);
    let density = rng.range(stack.density.0, stack.density.1);
    let cells = place_cells(stack.size, density, &mut rng);
    let scene = Scene::new(stack.size, cells, &mut rng);

    let mut rng = stream(SPECIMEN);
    let dna_textures = [
        Texture::new(stack.size, 4.2, 0.8, &mut rng),
        Texture::new(stack.size, 1.6, 0.5, &mut rng),
    ];
    let optics = stack.optics(&mut rng);
    let step = z_step_um(stack.slices);
    let spacing = step / (step / DRAWN_STEP_UM).ceil();

    let mut dna = Volume::new(stack.size, spacing);
    dna.fill(
        &scene,
        [&dna_textures[0], &dna_textures[1]],
        |v, textures| v.cell.stain * dna_density(v, textures),
    );
    let dna_target = 130.0 * plate.brightness[1] * rng.log_normal(0.12);
    let dna = photons(
        optics.image(&dna),
        &scene,
        dna_target,
        plate.background[1],
        &plate.light[1],
    );

    let specimen = paint(protein, &scene, &dna_textures, spacing, &mut rng);
    let target = protein.photons * plate.brightness[0] * rng.log_normal(0.15);
    let tagged = photons(
        optics.image(&specimen),
        &scene,
        target,
        plate.background[0],
        &plate.light[0],
    );

    let mut rng = stream(CAMERA);
    let mut counts = Array4::zeros((2, stack.slices, stack.size, stack.size));
    let planes = dna.iter().chain(&tagged);
    for (plane, counts) in planes.zip(
        counts
            .as_slice_mut()
            .into_iter()
            .flat_map(|all| all.chunks_exact_mut(stack.size * stack.size)),
    ) {
        plate.camera.expose(plane, &mut rng, counts);
    }
    SimulatedField {
        stack: counts,
        nuclei: scene.nuclei(),
    }
}

/// Size and sampling of the stacks of a data set.
#[derive(Debug, Clone, Copy)]
pub struct Stack {
    /// Columns and rows.
    pub size: usize,
    /// Slices.
    pub slices: usize,
    /// Range of the nuclei per 1024 x 1024 pixels.
    pub density: (f32, f32),
}

impl Stack {
    fn optics(&self, rng: &mut Rng) -> Optics {
        let focus = FOCUS_UM + rng.range(-0.4, 0.4);
        let step = z_step_um(self.slices);
        let middle = 0.5 * (self.slices as f32 - 1.0);
        let heights = (0..self.slices)
            .map(|k| focus + (k as f32 - middle) * step)
            .collect();
        Optics {
            heights,
            haze: rng.range(0.04, 0.10),
        }
    }
}

fn paint(
    protein: &Protein,
    scene: &Scene,
    dna: &[Texture; 2],
    spacing: f32,
    rng: &mut Rng,
) -> Volume {
    let mut specimen = Volume::new(scene.size, spacing);
    let (pool, weight) = &protein.pool;
    pool.paint(scene, &mut specimen, rng);
    specimen
        .slices
        .iter_mut()
        .flatten()
        .for_each(|v| *v *= weight);
    for (pattern, weight) in &protein.patterns {
        if *weight == 1.0 {
            pattern.paint(scene, dna, &mut specimen, rng);
        } else {
            let mut part = Volume::new(scene.size, spacing);
            pattern.paint(scene, dna, &mut part, rng);
            specimen.add(&part, *weight);
        }
    }
    add_autofluorescence(scene, &mut specimen, rng);
    specimen
}

/// Lipofuscin and debris: a few bright grains anywhere, whatever the protein.
fn add_autofluorescence(scene: &Scene, specimen: &mut Volume, rng: &mut Rng) {
    let size = scene.size as f32;
    let amount = specimen.point();
    let count = (size * size / 30_000.0 * rng.range(0.3, 1.5)) as usize;
    for _ in 0..count {
        let place = [
            rng.range(0.0, size),
            rng.range(0.0, size),
            rng.range(0.3, 7.0),
        ];
        specimen.deposit(place, amount * rng.range(0.2, 0.9));
    }
}

/// Scales images to photons: the brightest structures reach `target`, the background `background`.
fn photons(
    mut planes: Vec<Plane>,
    scene: &Scene,
    target: f32,
    background: f32,
    light: &Illumination,
) -> Vec<Plane> {
    let scale = target / brightest(&planes, scene).max(1e-6);
    for plane in &mut planes {
        for (y, row) in plane.data.chunks_exact_mut(scene.size).enumerate() {
            for (x, value) in row.iter_mut().enumerate() {
                *value = (background + scale * *value) * light.at(x, y, scene.size);
            }
        }
    }
    planes
}

/// The brightness that one in 200 pixels of the cells exceeds in the maximum projection.
fn brightest(planes: &[Plane], scene: &Scene) -> f32 {
    let inside = scene
        .columns
        .iter()
        .enumerate()
        .filter(|(_, c)| c.cell != Column::NONE);
    let mut peaks: Vec<f32> = inside
        .map(|(i, _)| planes.iter().map(|p| p.data[i]).fold(0.0, f32::max))
        .collect();
    if peaks.is_empty() {
        return 1.0;
    }
    let rank = (peaks.len() - 1) * 199 / 200;
    *peaks.select_nth_unstable_by(rank, f32::total_cmp).1
}
