//! AlignedUMAP: maps of several related sets of points, kept comparable.
//!
//! Each slice has a layout of its own; after every epoch a point is drawn towards the places of the same point in the
//! slices up to `window` before and after, the more the alike its neighbourhoods are.
//!
//! Differs from umap-learn: slices run in parallel and no slice is embedded on its own first; `min_dist`, `spread`,
//! learning rate and repulsion are respected; the slices on both sides count, the farthest and the last relation included
//! ([`AlignedParams::compat`] takes them out again); edges that would hardly be visited are left out; every slice is a
//! [`UmapModel`] that places new points. The pull is one relaxation per epoch with the expected number of visits as its
//! strength, instead of a term in each visit.

mod procrustes;
mod relations;

use rayon::prelude::*;

use crate::layout::{DIMENSIONS, Layout, from_points, rate_at};
use crate::params::{ParamGuard, UmapParams, ValidUmapParams};
use crate::progress::{Progress, Ticker};
use crate::source::PointSource;
use crate::{FuzzyGraph, UmapError, UmapModel};
use relations::Links;

pub use relations::Relation;

/// Parameters of an AlignedUMAP.
///
/// # Defaults
/// - `slices`: those of [`UmapParams`], with 200 epochs unless set;
/// - `regularisation` 0.01, `window` 3, `compat` false.
#[derive(Debug, Clone, PartialEq)]
pub struct AlignedParams {
    slices: UmapParams,
    regularisation: f64,
    window: usize,
    compat: bool,
}

/// Checked parameters of an AlignedUMAP.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidAlignedParams {
    slices: ValidUmapParams,
    regularisation: f64,
    window: usize,
    compat: bool,
}

impl Default for AlignedParams {
    fn default() -> Self {
        Self {
            slices: UmapParams::default(),
            regularisation: 0.01,
            window: 3,
            compat: false,
        }
    }
}

impl AlignedParams {
    /// Parameters of every slice.
    #[must_use]
    pub fn slices(mut self, slices: UmapParams) -> Self {
        self.slices = slices;
        self
    }

    /// Strength of the pull between slices, at least 0.
    #[must_use]
    pub fn regularisation(mut self, regularisation: f64) -> Self {
        self.regularisation = regularisation;
        self
    }

    /// How many slices before and after pull, at least 1.
    #[must_use]
    pub fn window(mut self, window: usize) -> Self {
        self.window = window;
        self
    }

    /// The relations that umap-learn looks at: never those to the slice `window` steps ahead, nor the last one forward.
    #[must_use]
    pub fn compat(mut self, compat: bool) -> Self {
        self.compat = compat;
        self
    }
}

impl ParamGuard for AlignedParams {
    type Checked = ValidAlignedParams;

    fn check(self) -> Result<ValidAlignedParams, UmapError> {
        if !(self.regularisation.is_finite() && self.regularisation >= 0.0) {
            return Err(UmapError::parameter(
                "regularisation",
                self.regularisation,
                "at least 0",
            ));
        }
        if self.window == 0 {
            return Err(UmapError::parameter("window", self.window, "at least 1"));
        }
        let mut slices = self.slices.check()?;
        slices.epochs.get_or_insert(200);
        Ok(ValidAlignedParams {
            slices,
            regularisation: self.regularisation,
            window: self.window,
            compat: self.compat,
        })
    }
}

impl ValidAlignedParams {
    /// Embeds the slices; `relations[i]` says which points of slice i are which of slice i + 1.
    ///
    /// # Errors
    /// - [`UmapError::Shape`]: not one relation between every two slices;
    /// - [`UmapError::Relation`]: a relation that is not one to one, or points past a slice;
    /// - [`UmapError::Cancelled`]: the callback asked to stop.
    ///
    /// # Example
    /// ```
    /// use cytoself_umap::{AlignedParams, ParamGuard, PointSource, Relation, silent};
    /// use ndarray::Array2;
    ///
    /// let slice = |t: f32| Array2::from_shape_fn((60, 3), move |(i, j)| ((i * (j + 1)) as f32 * 0.2).sin() + t * j as f32);
    /// let (a, b) = (slice(0.0), slice(0.1));
    /// let slices = [PointSource::dense(a.view())?, PointSource::dense(b.view())?];
    /// let models = AlignedParams::default().check()?.fit(&slices, &[Relation::identity(60)], &mut silent())?;
    /// assert_eq!(models.len(), 2);
    /// # Ok::<(), cytoself_umap::UmapError>(())
    /// ```
    pub fn fit(
        &self,
        slices: &[PointSource<'_>],
        relations: &[Relation],
        progress: Progress<'_>,
    ) -> Result<Vec<UmapModel>, UmapError> {
        if slices.is_empty() || relations.len() != slices.len() - 1 {
            let expected = format!(
                "[{}], one between every two slices",
                slices.len().saturating_sub(1)
            );
            return Err(UmapError::shape(
                "the relations",
                expected,
                format!("[{}]", relations.len()),
            ));
        }
        let sizes: Vec<usize> = slices.iter().map(PointSource::len).collect();
        for (r, relation) in relations.iter().enumerate() {
            relation.check(r, sizes[r], sizes[r + 1])?;
        }
        let dimensions = self.slices.n_components;
        macro_rules! with_dimensions {
            ($($d:literal)*) => {
                match DIMENSIONS.into_iter().find(|d| *d >= dimensions) {
                    $(Some($d) => self.fit_in::<$d>(slices, relations, Ticker::new(progress)),)*
                    _ => Err(UmapError::parameter("n_components", dimensions, "1 to 32")),
                }
            };
        }
        with_dimensions!(2 4 8 32)
    }

    fn fit_in<const D: usize>(
        &self,
        slices: &[PointSource<'_>],
        relations: &[Relation],
        mut ticker: Ticker<'_>,
    ) -> Result<Vec<UmapModel>, UmapError> {
        let count = slices.len();
        let mut prepared = Vec::with_capacity(count);
        for (s, slice) in slices.iter().enumerate() {
            let stage = ticker.stage((500 * s / count) as u64, (500 * (s + 1) / count) as u64);
            prepared.push(self.slices.prepare(slice, stage, Ok)?);
        }
        for (s, relation) in relations.iter().enumerate() {
            let (before, after) = prepared.split_at_mut(s + 1);
            procrustes::align(&before[s].start, &mut after[0].start, relation);
        }
        let graphs: Vec<&FuzzyGraph> = prepared.iter().map(|p| &p.graph).collect();
        let links = Links::new(relations, &graphs, self.window, self.compat);
        let settings = self.slices.layout_settings(0);
        let mut layouts: Vec<Layout<D>> = prepared
            .iter()
            .map(|p| Layout::new(&p.graph, &p.start, &settings))
            .collect();
        for epoch in 0..settings.epochs {
            ticker.at(500 + 500 * epoch / settings.epochs.max(1), 1000)?;
            layouts
                .par_iter_mut()
                .for_each(|layout| layout.epoch(epoch));
            let rate = rate_at(epoch, settings.epochs, settings.learning_rate)
                * self.regularisation as f32;
            pull(&mut layouts, &links, rate);
        }
        let dimensions = self.slices.n_components;
        let done = slices
            .iter()
            .zip(prepared)
            .zip(&layouts)
            .map(|((slice, prepared), layout)| {
                self.slices
                    .finish(slice, prepared, from_points(&layout.points, dimensions))
            });
        let models = done.collect();
        ticker.at(1000, 1000)?;
        Ok(models)
    }
}

/// Draws every point towards its places in the other slices, as they were before any of them was drawn.
fn pull<const D: usize>(layouts: &mut [Layout<D>], links: &Links, rate: f32) {
    let before: Vec<Vec<[f32; D]>> = layouts.iter().map(|l| l.points.clone()).collect();
    layouts.par_iter_mut().enumerate().for_each(|(s, layout)| {
        layout
            .points
            .par_iter_mut()
            .enumerate()
            .with_min_len(1024)
            .for_each(|(i, point)| {
                let own = before[s][i];
                for link in links.of(s, i) {
                    let other = before[link.slice as usize][link.point as usize];
                    // 1 - 1 / (1 + x) stays below 1 however often the point is visited.
                    let share = rate * link.strength / (1.0 + rate * link.strength);
                    for d in 0..D {
                        point[d] += share * (other[d] - own[d]);
                    }
                }
            });
    });
}
