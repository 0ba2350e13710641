//! Where the layout starts.

mod components;
mod meta;
mod spectral;

use std::fmt;

use ndarray::Array2;

use crate::UmapError;
use crate::fuzzy::FuzzyGraph;
use crate::rng::{Purpose, Stream};

/// Start of the layout.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Init {
    /// Eigenvectors of the normalised graph Laplacian, component by component.
    #[default]
    Spectral,
    /// Uniform on a square.
    Random,
    /// The user's own coordinates, `[n, n_components]`.
    Given(Array2<f32>),
}

impl Init {
    /// The name in a report and in a model file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Spectral => "spectral",
            Self::Random => "random",
            Self::Given(_) => "given",
        }
    }
}

/// What the initialisation did.
#[derive(Debug, Clone, PartialEq)]
pub struct InitReport {
    /// What was asked for.
    pub requested: &'static str,
    /// What was used.
    pub used: &'static str,
    /// Why it is not what was asked for, or what is worth knowing.
    pub note: Option<String>,
    /// Connected components of the graph, isolated points not counted.
    pub components: usize,
    /// Largest residual of the eigenvectors used.
    pub residual: f64,
    /// Products with the Laplacian, in the largest component.
    pub products: usize,
}

impl fmt::Display for InitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} components", self.used, self.components)?;
        self.note
            .as_ref()
            .map_or(Ok(()), |note| write!(f, " ({note})"))
    }
}

/// The distance between two points, where it is known.
pub(crate) type Distance<'a> = Option<&'a (dyn Fn(usize, usize) -> f32 + Sync)>;

/// Start positions in [0, 10] on every axis.
pub(crate) fn start(
    init: &Init,
    graph: &FuzzyGraph,
    dimensions: usize,
    seed: u64,
    distance: Distance<'_>,
) -> Result<(Array2<f32>, InitReport), UmapError> {
    let mut report = InitReport {
        requested: init.name(),
        used: init.name(),
        note: None,
        components: 0,
        residual: 0.0,
        products: 0,
    };
    let components = components::components(graph);
    report.components = components.groups.len();
    let mut positions = match init {
        Init::Given(given) => given_positions(given, graph.len(), dimensions)?,
        Init::Random => random(graph.len(), dimensions, seed),
        Init::Spectral => {
            match spectral::spectral(graph, &components, dimensions, seed, distance) {
                Ok(found) => {
                    report.residual = found.residual;
                    report.products = found.products;
                    report.note = found.note;
                    found.positions
                }
                Err(reason) => {
                    report.used = "random";
                    report.note = Some(reason);
                    random(graph.len(), dimensions, seed)
                }
            }
        }
    };
    if !matches!(init, Init::Given(_)) {
        add_noise(&mut positions, seed);
    }
    to_box(&mut positions);
    Ok((positions, report))
}

fn given_positions(
    given: &Array2<f32>,
    n: usize,
    dimensions: usize,
) -> Result<Array2<f32>, UmapError> {
    if given.dim() != (n, dimensions) {
        let (rows, columns) = given.dim();
        return Err(UmapError::shape(
            "the initial coordinates",
            format!("[{n}, {dimensions}]"),
            format!("[{rows}, {columns}]"),
        ));
    }
    if let Some(((row, column), &value)) = given.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(UmapError::NotFinite { row, column, value });
    }
    Ok(given.clone())
}

fn random(n: usize, dimensions: usize, seed: u64) -> Array2<f32> {
    let stream = Stream::new(seed, Purpose::RandomInit);
    Array2::from_shape_fn((n, dimensions), |(i, d)| {
        (stream.uniform((i * dimensions + d) as u64) * 20.0 - 10.0) as f32
    })
}

/// Scales to at most 10 and adds noise of deviation 1e-4, so that equal rows part.
fn add_noise(positions: &mut Array2<f32>, seed: u64) {
    let largest = positions.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let scale = if largest > 0.0 { 10.0 / largest } else { 0.0 };
    let stream = Stream::new(seed, Purpose::Noise);
    for (i, v) in positions.iter_mut().enumerate() {
        *v = *v * scale + 1e-4 * stream.normal(i as u64);
    }
}

/// Minimum 0 and maximum 10 on every axis.
fn to_box(positions: &mut Array2<f32>) {
    for mut axis in positions.columns_mut() {
        let low = axis.iter().copied().fold(f32::INFINITY, f32::min);
        let high = axis.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scale = if high > low { 10.0 / (high - low) } else { 0.0 };
        axis.mapv_inplace(|v| (v - low) * scale);
    }
}
