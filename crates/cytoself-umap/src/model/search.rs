//! From a source to its neighbour graph.

use crate::knn::{KnnMethod, Recall, cross_knn, self_knn};
use crate::model::KnnReport;
use crate::params::ValidUmapParams;
use crate::progress::Ticker;
use crate::source::{CodeSpace, DenseSpace, DistanceSpace, PointSource, Precomputed, Space};
use crate::{Knn, UmapError};

/// Multiply-adds of an exact search that are done without asking: about two seconds on two cores.
const EXACT_WORK: f64 = 1e11;
/// Below this number of points all pairs are looked at, as in umap-learn.
const EXACT_POINTS: usize = 4096;

/// The neighbours of every point and how they were found.
pub(crate) fn neighbours(
    params: &ValidUmapParams,
    source: &PointSource<'_>,
    ticker: Ticker<'_>,
) -> Result<(Knn, KnnReport), UmapError> {
    let k = params.n_neighbors.min(source.len());
    match source {
        PointSource::Dense(points) => {
            search(params, &DenseSpace::new(points, params.metric), k, ticker)
        }
        PointSource::Codes(points) => {
            search(params, &CodeSpace::new(points, params.metric), k, ticker)
        }
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

/// Whether all pairs are looked at.
fn is_exact<S: Space>(method: KnnMethod, space: &S) -> bool {
    let n = space.len() as f64;
    match method {
        KnnMethod::Exact => true,
        KnnMethod::Descent => false,
        KnnMethod::Auto => {
            space.len() < EXACT_POINTS || n * n * space.cost() as f64 / 2.0 <= EXACT_WORK
        }
    }
}

fn search<S: Space>(
    params: &ValidUmapParams,
    space: &S,
    k: usize,
    ticker: Ticker<'_>,
) -> Result<(Knn, KnnReport), UmapError> {
    let _ = is_exact(params.knn, space);
    let knn = self_knn(space, k, ticker)?;
    Ok((knn, report(Some(KnnMethod::Exact), Some(Recall::EXACT))))
}

/// Calls `body` with the distance between two points, where the source has one.
pub(crate) fn with_distance<T>(
    params: &ValidUmapParams,
    source: &PointSource<'_>,
    body: impl FnOnce(crate::init::Distance<'_>) -> T,
) -> T {
    fn call<S: Space, T>(space: &S, body: impl FnOnce(crate::init::Distance<'_>) -> T) -> T {
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
