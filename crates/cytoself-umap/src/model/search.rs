//! From a source to its neighbour graph.

use rayon::prelude::*;

use crate::init::Distance;
use crate::knn::{
    KnnMethod, Lists, Recall, audit, cross_knn, from_trees, improve, nearest, self_knn, sketch,
    widened,
};
use crate::metric::Metric;
use crate::model::KnnReport;
use crate::params::ValidUmapParams;
use crate::progress::{Ticker, silent};
use crate::rng::{Purpose, Stream};
use crate::source::{CodeSpace, DenseSpace, DistanceSpace, PointSource, Precomputed, Space};
use crate::{Knn, UmapError};

/// Multiply-adds of an exact search that are done without asking: about two seconds on two cores.
const EXACT_WORK: f64 = 1e11;
/// Below this number of points all pairs are looked at, as in umap-learn.
const EXACT_POINTS: usize = 4096;
/// Multiply-adds that an audit may take, and its smallest sample.
const AUDIT_WORK: f64 = 1e10;
const AUDIT_LEAST: usize = 64;
/// Rows with fewer numbers than this are not sketched.
const LONG: usize = 512;
/// Up to this number of points all pairs of sketches are looked at.
const EXACT_SKETCHES: usize = 20_000;
/// Share of the true neighbours that the candidates from the sketches are to hold.
const HELD: f64 = 0.99;
/// Candidates from the sketches per point, at most; to rank them takes less time than the joins that they save.
const MOST: usize = 192;
/// Sample points that are asked how many that takes.
const ASKED: usize = 64;
/// Recall below which the neighbours found among sketches are improved by joins.
const ENOUGH: f64 = 0.97;

/// The neighbours of every point and how they were found.
pub(crate) fn neighbours(
    params: &ValidUmapParams,
    source: &PointSource<'_>,
    ticker: Ticker<'_>,
) -> Result<(Knn, KnnReport), UmapError> {
    let k = params.n_neighbors.min(source.len());
    match source {
        PointSource::Dense(points) => Search {
            params,
            source,
            space: &DenseSpace::new(points, params.metric),
            k,
        }
        .run(ticker),
        PointSource::Codes(points) => Search {
            params,
            source,
            space: &CodeSpace::new(points, params.metric),
            k,
        }
        .run(ticker),
        PointSource::Precomputed(Precomputed::Distances(matrix)) => {
            // Rows may differ from columns, so each row is searched on its own.
            let mut knn = cross_knn(&DistanceSpace(matrix.view()), k, true, ticker)?;
            knn.cut(f32::INFINITY);
            Ok((knn, report(Some(KnnMethod::Exact), Some(Recall::EXACT))))
        }
        PointSource::Precomputed(Precomputed::Neighbours(knn)) => {
            Ok((knn.truncated(k), report(None, None)))
        }
    }
}

fn report(method: Option<KnnMethod>, recall: Option<Recall>) -> KnnReport {
    KnnReport {
        method,
        n_neighbors: 0,
        recall,
    }
}

/// A search within one set of points.
struct Search<'a, 'b, S> {
    params: &'a ValidUmapParams,
    source: &'a PointSource<'b>,
    space: &'a S,
    k: usize,
}

impl<S: Space> Search<'_, '_, S> {
    fn run(&self, mut ticker: Ticker<'_>) -> Result<(Knn, KnnReport), UmapError> {
        if self.is_exact() {
            let knn = self_knn(self.space, self.k, ticker)?;
            return Ok((knn, report(Some(KnnMethod::Exact), Some(Recall::EXACT))));
        }
        let rows = self.audited_rows();
        let (knn, recall) = match self.among_sketches(&rows, ticker.stage(0, 800))? {
            Some(found) => found,
            None => {
                let stage = ticker.stage(0, 800);
                let knn =
                    from_trees(self.space, self.k, self.params.seed, stage)?.to_knn(self.space);
                let recall = audit(&self.truth(&rows)?, &rows, &knn);
                (knn, recall)
            }
        };
        Ok((knn, report(Some(KnnMethod::Descent), Some(recall))))
    }

    /// Whether all pairs are looked at.
    fn is_exact(&self) -> bool {
        let n = self.space.len() as f64;
        match self.params.knn {
            KnnMethod::Exact => true,
            // Neighbour lists of descent need more points than neighbours.
            KnnMethod::Descent => self.space.len() < 4 * self.k,
            KnnMethod::Auto => {
                self.space.len() < EXACT_POINTS
                    || n * n * self.space.cost() as f64 / 2.0 <= EXACT_WORK
            }
        }
    }

    /// Neighbours among the sketches, ranked by the true distance; improved where that was not enough.
    fn among_sketches(
        &self,
        rows: &[usize],
        mut ticker: Ticker<'_>,
    ) -> Result<Option<(Knn, Recall)>, UmapError> {
        if self.space.features() < LONG {
            return Ok(None);
        }
        let Some(short) = sketch(self.space, self.params.seed) else {
            return Ok(None);
        };
        let Ok(PointSource::Dense(points)) = PointSource::dense(short.view()) else {
            return Ok(None);
        };
        let sketches = DenseSpace::new(&points, Metric::Euclidean);
        let truth = self.truth(rows)?;
        let wanted = self.wanted(&sketches, &truth, rows);
        let others = self.k - 1;
        let stage = ticker.stage(200, 500);
        let mut lists = if self.space.len() <= EXACT_SKETCHES {
            let found = nearest(&sketches, wanted, stage)?;
            Lists::ranked(self.space, |i| found.ids(i), others)
        } else {
            let few = self.k + self.k / 2 + 2;
            let lists = from_trees(&sketches, few, self.params.seed, stage)?;
            let found = widened(&sketches, &lists, wanted);
            Lists::ranked(self.space, |i| &found[i * wanted..(i + 1) * wanted], others)
        };
        let recall = audit(&truth, rows, &lists.to_knn(self.space));
        if recall.value < ENOUGH {
            improve(
                self.space,
                &mut lists,
                self.params.seed,
                ticker.stage(500, 1000),
            )?;
        }
        let knn = lists.to_knn(self.space);
        let recall = audit(&truth, rows, &knn);
        Ok(Some((knn, recall)))
    }

    /// How many neighbours among the sketches hold nearly all true neighbours of the sample.
    fn wanted(&self, sketches: &DenseSpace<'_>, truth: &Knn, rows: &[usize]) -> usize {
        let mut needed: Vec<usize> = rows
            .par_iter()
            .enumerate()
            .step_by(rows.len().div_ceil(ASKED).max(1))
            .flat_map_iter(|(r, &i)| {
                let ranks: Vec<f32> = (0..sketches.len()).map(|j| sketches.rank(i, j)).collect();
                let true_ones = truth.indices().row(r).to_vec();
                true_ones.into_iter().filter_map(move |j| {
                    let own = *ranks.get(j as usize)?;
                    // The point itself comes first and is not counted.
                    let place = ranks.iter().filter(|&&rank| rank < own).count();
                    (j as usize != i).then_some(place)
                })
            })
            .collect();
        needed.sort_unstable();
        let last = needed.len().saturating_sub(1);
        let wanted = needed.get((last as f64 * HELD) as usize).copied();
        let least = self.k + self.k / 2;
        wanted.unwrap_or(MOST).clamp(least.min(MOST), MOST)
    }

    /// A random sample, smaller where an exact search of a row is dear.
    fn audited_rows(&self) -> Vec<usize> {
        let work = self.space.len() as f64 * self.space.cost() as f64;
        let most = ((AUDIT_WORK / work) as usize).max(AUDIT_LEAST);
        Stream::new(self.params.seed, Purpose::Audit)
            .sample(self.params.audit_sample.min(most), self.space.len())
    }

    /// The exact neighbours of some points.
    fn truth(&self, rows: &[usize]) -> Result<Knn, UmapError> {
        let selected = self.source.select(rows);
        let mut quiet = silent();
        let ticker = Ticker::new(&mut quiet);
        match (&selected, self.source) {
            (Some(PointSource::Dense(some)), PointSource::Dense(all)) => cross_knn(
                &DenseSpace::between(some, all, self.params.metric)?,
                self.k,
                false,
                ticker,
            ),
            (Some(PointSource::Codes(some)), PointSource::Codes(all)) => cross_knn(
                &CodeSpace::between(some, all, self.params.metric)?,
                self.k,
                false,
                ticker,
            ),
            _ => Err(UmapError::NeedsPoints {
                operation: "the audit",
                found: self.source.kind(),
            }),
        }
    }
}

/// Calls `body` with the distance between two points, where the source has one.
pub(crate) fn with_distance<T>(
    params: &ValidUmapParams,
    source: &PointSource<'_>,
    body: impl FnOnce(Distance<'_>) -> T,
) -> T {
    fn call<S: Space, T>(space: &S, body: impl FnOnce(Distance<'_>) -> T) -> T {
        body(Some(&|i, j| space.distance(space.rank(i, j))))
    }
    match source {
        PointSource::Dense(points) => call(&DenseSpace::new(points, params.metric), body),
        PointSource::Codes(points) => call(&CodeSpace::new(points, params.metric), body),
        PointSource::Precomputed(Precomputed::Distances(matrix)) => {
            call(&DistanceSpace(matrix.view()), body)
        }
        PointSource::Precomputed(Precomputed::Neighbours(_)) => body(None),
    }
}
