//! The layout: stochastic gradient descent on the edges of the graph, parallel and yet in one fixed order.
//!
//! The vertices are cut into fixed blocks. An epoch is a round-robin tournament of the blocks: in a round every block
//! meets one other, so that the pairs of a round touch disjoint vertices and can run on any number of threads in any
//! order with the same result. Within a pair the edges run in a fixed shuffled order, eight at a time; repulsion reads
//! the positions from the start of the epoch, while attraction and the heads of repulsion see every earlier step. (A
//! scheme in which whole epochs read only old positions drifts apart: its maps are four times too large.)
//!
//! Differs from umap-learn: edges run in another order, and repulsive samples see the last epoch's positions.

mod edges;
mod force;
mod rounds;
mod step;

use ndarray::Array2;
use rayon::prelude::*;

use crate::UmapError;
use crate::curve::Curve;
use crate::fuzzy::FuzzyGraph;
use crate::progress::Ticker;
use crate::rng::{Purpose, Stream};
use edges::Edges;
use step::run_edges;

pub(crate) use force::Forces;
pub(crate) use rounds::tournament;
pub(crate) use step::{Fixed, Step, run_fixed};

/// What the layout needs besides graph and start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayoutSettings {
    pub(crate) curve: Curve,
    pub(crate) epochs: usize,
    pub(crate) learning_rate: f32,
    pub(crate) repulsion: f32,
    pub(crate) negatives: usize,
    pub(crate) seed: u64,
}

/// Numbers of dimensions that have code of their own; others are padded with zeros, which changes nothing.
pub(crate) const DIMENSIONS: [usize; 4] = [2, 4, 8, 32];

/// Moves the points of `start` along the graph.
pub(crate) fn layout(
    graph: &FuzzyGraph,
    start: Array2<f32>,
    settings: &LayoutSettings,
    ticker: Ticker<'_>,
) -> Result<Array2<f32>, UmapError> {
    let dimensions = start.ncols();
    macro_rules! with_dimensions {
        ($($d:literal)*) => {
            match DIMENSIONS.into_iter().find(|d| *d >= dimensions) {
                $(Some($d) => optimise::<$d>(graph, start, settings, ticker),)*
                _ => Err(UmapError::parameter("n_components", dimensions, "1 to 32")),
            }
        };
    }
    with_dimensions!(2 4 8 32)
}

/// Points as fixed-size arrays, padded with zeros.
pub(crate) fn to_points<const D: usize>(array: &Array2<f32>) -> Vec<[f32; D]> {
    let row = |r: ndarray::ArrayView1<'_, f32>| {
        let mut point = [0.0; D];
        point.iter_mut().zip(r).for_each(|(p, v)| *p = *v);
        point
    };
    array.rows().into_iter().map(row).collect()
}

pub(crate) fn from_points<const D: usize>(points: &[[f32; D]], dimensions: usize) -> Array2<f32> {
    Array2::from_shape_fn((points.len(), dimensions), |(i, d)| points[i][d])
}

/// Step size of an epoch: 1 for the first two, then falling to 0, as in umap-learn.
pub(crate) fn rate_at(epoch: usize, epochs: usize, learning_rate: f32) -> f32 {
    learning_rate * (1.0 - epoch.saturating_sub(1) as f32 / epochs as f32)
}

fn optimise<const D: usize>(
    graph: &FuzzyGraph,
    start: Array2<f32>,
    settings: &LayoutSettings,
    mut ticker: Ticker<'_>,
) -> Result<Array2<f32>, UmapError> {
    let mut layout = Layout::<D>::new(graph, &start, settings);
    for epoch in 0..settings.epochs {
        ticker.at(epoch, settings.epochs)?;
        layout.epoch(epoch);
    }
    Ok(from_points(&layout.points, start.ncols()))
}

/// A layout in the making.
pub(crate) struct Layout<const D: usize> {
    pub(crate) points: Vec<[f32; D]>,
    snapshot: Vec<[f32; D]>,
    edges: Edges,
    rounds: Vec<Vec<(usize, usize)>>,
    buffers: Vec<Vec<[f32; D]>>,
    settings: LayoutSettings,
    stream: Stream,
}

impl<const D: usize> Layout<D> {
    pub(crate) fn new(graph: &FuzzyGraph, start: &Array2<f32>, settings: &LayoutSettings) -> Self {
        let points = to_points::<D>(start);
        let stream = Stream::new(settings.seed, Purpose::Layout);
        let edges = Edges::new(graph, settings.epochs, stream);
        Self {
            snapshot: points.clone(),
            points,
            rounds: tournament(edges.blocks),
            buffers: vec![Vec::new(); edges.blocks],
            edges,
            settings: *settings,
            stream,
        }
    }

    /// One pass over the edges that are due.
    pub(crate) fn epoch(&mut self, epoch: usize) {
        self.snapshot.copy_from_slice(&self.points);
        let settings = &self.settings;
        let step = Step {
            forces: Forces::new(settings.curve, settings.repulsion),
            rate: rate_at(epoch, settings.epochs, settings.learning_rate),
            negatives: settings.negatives,
            epoch,
            key: self.stream.at(epoch as u64) as u32,
            snapshot: &self.snapshot,
        };
        for round in &self.rounds {
            run_round(
                &mut self.points,
                &self.edges,
                round,
                &mut self.buffers,
                &step,
            );
        }
    }
}

/// The pairs of one round in parallel; each works on a copy of its two blocks, side by side.
fn run_round<const D: usize>(
    points: &mut [[f32; D]],
    edges: &Edges,
    round: &[(usize, usize)],
    buffers: &mut [Vec<[f32; D]>],
    step: &Step<'_, D>,
) {
    let mut blocks: Vec<Option<&mut [[f32; D]]>> =
        points.chunks_mut(edges.block).map(Some).collect();
    let tasks: Vec<_> = round
        .iter()
        .zip(buffers)
        .filter_map(|(&(a, b), buffer)| {
            let left = blocks[a].take()?;
            let right = if a == b { None } else { blocks[b].take() };
            Some((a, b, left, right, buffer))
        })
        .collect();
    tasks
        .into_par_iter()
        .with_max_len(1)
        .for_each(|(a, b, left, right, buffer)| {
            let bucket = edges.bucket(a, b);
            if bucket.ends.is_empty() {
                return;
            }
            buffer.clear();
            buffer.extend_from_slice(left);
            if let Some(right) = &right {
                buffer.extend_from_slice(right);
            }
            run_edges(buffer, &bucket, step);
            left.copy_from_slice(&buffer[..left.len()]);
            if let Some(right) = right {
                right.copy_from_slice(&buffer[left.len()..]);
            }
        });
}
