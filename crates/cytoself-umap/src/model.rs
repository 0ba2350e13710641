//! A fit from the points to the embedding.

mod file;
mod search;
mod transform;

use std::fmt;

use ndarray::{Array2, ArrayView2};

use crate::curve::Curve;
use crate::fuzzy::{FuzzyGraph, fuzzy_graph};
use crate::init::{InitReport, start};
use crate::knn::{KnnMethod, Recall};
use crate::layout::{LayoutSettings, layout};
use crate::params::ValidUmapParams;
use crate::progress::{Progress, Ticker};
use crate::source::PointSource;
use crate::{Knn, UmapError};

/// How the neighbours were found.
#[derive(Debug, Clone, PartialEq)]
pub struct KnnReport {
    /// The search that was used; `None` when the neighbours were given.
    pub method: Option<KnnMethod>,
    /// Neighbours per point, the point itself counted.
    pub n_neighbors: usize,
    /// Measured recall; `None` when the neighbours were given.
    pub recall: Option<Recall>,
}

/// What a fit did.
#[derive(Debug, Clone, PartialEq)]
pub struct FitReport {
    /// The neighbour search.
    pub knn: KnnReport,
    /// The start of the layout.
    pub init: InitReport,
    /// The similarity curve.
    pub curve: Curve,
    /// Passes over the graph.
    pub epochs: usize,
    /// Edges of the graph.
    pub edges: usize,
    /// Points without any edge; their coordinates are NaN.
    pub isolated: usize,
}

impl fmt::Display for FitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.knn.method, self.knn.recall) {
            (Some(method), Some(r)) if r.sample > 0 => {
                write!(
                    f,
                    "knn {method}, recall {:.4} [{:.4}, {:.4}] on {} points",
                    r.value, r.low, r.high, r.sample
                )?;
            }
            (Some(method), _) => write!(f, "knn {method}")?,
            _ => write!(f, "knn given")?,
        }
        write!(
            f,
            "; init {}; {} edges, {} epochs",
            self.init, self.edges, self.epochs
        )?;
        if self.isolated > 0 {
            write!(f, "; {} isolated points are NaN", self.isolated)?;
        }
        Ok(())
    }
}

/// A fitted UMAP.
#[derive(Debug, Clone, PartialEq)]
pub struct UmapModel {
    pub(crate) params: ValidUmapParams,
    pub(crate) embedding: Array2<f32>,
    pub(crate) knn: Knn,
    pub(crate) graph: FuzzyGraph,
    pub(crate) report: FitReport,
    pub(crate) content_hash: u64,
}

impl UmapModel {
    /// The embedding, `[n, n_components]`; NaN for isolated points.
    #[must_use]
    pub fn embedding(&self) -> ArrayView2<'_, f32> {
        self.embedding.view()
    }

    /// The neighbours it was made from.
    #[must_use]
    pub fn knn(&self) -> &Knn {
        &self.knn
    }

    /// The fuzzy graph it was made from.
    #[must_use]
    pub fn graph(&self) -> &FuzzyGraph {
        &self.graph
    }

    /// What the fit did.
    #[must_use]
    pub fn report(&self) -> &FitReport {
        &self.report
    }

    /// The parameters of the fit.
    #[must_use]
    pub fn params(&self) -> &ValidUmapParams {
        &self.params
    }
}

impl ValidUmapParams {
    /// Embeds the points.
    ///
    /// The result has the same bits for any number of threads: rayon's current pool is used, and no step depends on its
    /// size.
    ///
    /// # Errors
    /// - [`UmapError::Shape`], [`UmapError::NotFinite`]: given initial coordinates that do not fit;
    /// - [`UmapError::Cancelled`]: the callback asked to stop.
    ///
    /// # References
    /// McInnes, Healy, Melville 2018, arXiv:1802.03426.
    ///
    /// # Example
    /// ```
    /// use cytoself_umap::{ParamGuard, PointSource, UmapParams, silent};
    /// use ndarray::Array2;
    ///
    /// // Two lines of 30 points, far apart.
    /// let x = Array2::from_shape_fn((60, 3), |(i, j)| (i % 30) as f32 + if i < 30 { 0.0 } else { 500.0 } + j as f32);
    /// let model = UmapParams::default().check()?.fit(&PointSource::dense(x.view())?, &mut silent())?;
    /// assert_eq!(model.embedding().dim(), (60, 2));
    /// assert_eq!(model.report().init.components, 2);
    /// # Ok::<(), cytoself_umap::UmapError>(())
    /// ```
    pub fn fit(
        &self,
        source: &PointSource<'_>,
        progress: Progress<'_>,
    ) -> Result<UmapModel, UmapError> {
        self.fit_graph(source, progress, Ok)
    }

    /// A fit whose graph is changed before the layout.
    pub(crate) fn fit_graph(
        &self,
        source: &PointSource<'_>,
        progress: Progress<'_>,
        change: impl FnOnce(FuzzyGraph) -> Result<FuzzyGraph, UmapError>,
    ) -> Result<UmapModel, UmapError> {
        let mut ticker = Ticker::new(progress);
        let prepared = self.prepare(source, ticker.stage(0, 500), change)?;
        let settings = self.layout_settings(source.len());
        let embedding = layout(
            &prepared.graph,
            prepared.start.clone(),
            &settings,
            ticker.stage(500, 1000),
        )?;
        ticker.at(1000, 1000)?;
        Ok(self.finish(source, prepared, embedding))
    }

    /// All that comes before the layout.
    pub(crate) fn prepare(
        &self,
        source: &PointSource<'_>,
        mut ticker: Ticker<'_>,
        change: impl FnOnce(FuzzyGraph) -> Result<FuzzyGraph, UmapError>,
    ) -> Result<Prepared, UmapError> {
        let (mut knn, mut knn_report) = search::neighbours(self, source, ticker.stage(0, 800))?;
        if let Some(limit) = self.disconnection_distance {
            knn.cut(limit as f32);
        }
        knn_report.n_neighbors = knn.k();
        let graph = change(fuzzy_graph(
            &knn,
            self.local_connectivity,
            self.set_op_mix_ratio,
        ))?;
        ticker.at(840, 1000)?;
        let (start, init) = search::with_distance(self, source, |distance| {
            start(&self.init, &graph, self.n_components, self.seed, distance)
        })?;
        ticker.at(1000, 1000)?;
        Ok(Prepared {
            knn,
            knn_report,
            graph,
            start,
            init,
        })
    }

    pub(crate) fn layout_settings(&self, n: usize) -> LayoutSettings {
        LayoutSettings {
            curve: self.curve(),
            epochs: self.epochs_for(n),
            learning_rate: self.learning_rate as f32,
            repulsion: self.repulsion_strength as f32,
            negatives: self.negative_sample_rate,
            seed: self.seed,
        }
    }

    pub(crate) fn finish(
        &self,
        source: &PointSource<'_>,
        prepared: Prepared,
        mut embedding: Array2<f32>,
    ) -> UmapModel {
        let Prepared {
            knn,
            knn_report,
            graph,
            init,
            ..
        } = prepared;
        let isolated = blank_isolated(&graph, &mut embedding);
        let report = FitReport {
            knn: knn_report,
            init,
            curve: self.curve(),
            epochs: self.epochs_for(source.len()),
            edges: graph.entries() / 2,
            isolated,
        };
        UmapModel {
            params: self.clone(),
            embedding,
            knn,
            graph,
            report,
            content_hash: source.content_hash(),
        }
    }
}

/// What the layout starts from.
pub(crate) struct Prepared {
    pub(crate) knn: Knn,
    knn_report: KnnReport,
    pub(crate) graph: FuzzyGraph,
    pub(crate) start: Array2<f32>,
    init: InitReport,
}

/// Points without edges have no place: NaN, as in umap-learn. A single point stays.
fn blank_isolated(graph: &FuzzyGraph, embedding: &mut Array2<f32>) -> usize {
    if graph.len() == 1 {
        return 0;
    }
    let mut count = 0;
    for (i, mut row) in embedding.rows_mut().into_iter().enumerate() {
        if graph.row(i).0.is_empty() {
            row.fill(f32::NAN);
            count += 1;
        }
    }
    count
}
