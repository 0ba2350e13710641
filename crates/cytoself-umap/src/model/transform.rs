//! New points on an existing map.

use ndarray::Array2;
use rayon::prelude::*;

use super::UmapModel;
use crate::fuzzy::{mean_distance, smooth_knn, strengths};
use crate::knn::cross_knn;
use crate::layout::{DIMENSIONS, Fixed, Forces, Step, from_points, rate_at, run_fixed, to_points};
use crate::progress::{Progress, Ticker};
use crate::rng::{Purpose, Stream, mix64};
use crate::source::{CodeSpace, DenseSpace, PointSource};
use crate::{Knn, UmapError};

/// Points placed between two calls of the callback.
const BATCH: usize = 4096;

impl UmapModel {
    /// Places new points; the map itself stays as it is.
    ///
    /// `points` are those of the fit (a model does not keep them), `new` the ones to place. The points of the fit get
    /// their own coordinates back. Every point is placed by itself: what is placed with it does not matter.
    ///
    /// Differs from umap-learn: the search is exact, and edge weights are scaled per point instead of over all new points.
    ///
    /// # Errors
    /// - [`UmapError::OtherPoints`]: `points` are not those of the fit;
    /// - [`UmapError::Shape`]: `new` has other columns or another codebook;
    /// - [`UmapError::NeedsPoints`]: the model was fitted on distances, or the kinds of sources differ; use
    ///   [`UmapModel::transform_neighbours`];
    /// - [`UmapError::Cancelled`]: the callback asked to stop.
    ///
    /// # Example
    /// ```
    /// use cytoself_umap::{ParamGuard, PointSource, UmapParams, silent};
    /// use ndarray::{Array2, array};
    ///
    /// let x = Array2::from_shape_fn((60, 2), |(i, j)| if j == 0 { i as f32 } else { (i % 7) as f32 });
    /// let points = PointSource::dense(x.view())?;
    /// let model = UmapParams::default().check()?.fit(&points, &mut silent())?;
    /// let new = array![[30.2_f32, 2.0], [1.0, 1.0]];
    /// let placed = model.transform(&points, &PointSource::dense(new.view())?, &mut silent())?;
    /// assert_eq!(placed.dim(), (2, 2));
    /// // The point [1, 1] is row 1 of the fit.
    /// # Ok::<(), cytoself_umap::UmapError>(())
    /// ```
    pub fn transform(
        &self,
        points: &PointSource<'_>,
        new: &PointSource<'_>,
        progress: Progress<'_>,
    ) -> Result<Array2<f32>, UmapError> {
        let found = points.content_hash();
        if found != self.content_hash {
            return Err(UmapError::OtherPoints {
                expected: self.content_hash,
                found,
            });
        }
        if new.content_hash() == self.content_hash {
            return Ok(self.embedding.clone());
        }
        let mut ticker = Ticker::new(progress);
        let k = self.params.n_neighbors.min(points.len());
        let metric = self.params.metric;
        let knn = match (new, points) {
            (PointSource::Dense(new), PointSource::Dense(points)) => cross_knn(
                &DenseSpace::between(new, points, metric)?,
                k,
                false,
                ticker.stage(0, 600),
            )?,
            (PointSource::Codes(new), PointSource::Codes(points)) => cross_knn(
                &CodeSpace::between(new, points, metric)?,
                k,
                false,
                ticker.stage(0, 600),
            )?,
            _ => {
                let found = if points.kind() == new.kind() {
                    points.kind()
                } else {
                    new.kind()
                };
                return Err(UmapError::NeedsPoints {
                    operation: "placing new points",
                    found,
                });
            }
        };
        self.place(&knn, ticker.stage(600, 1000))
    }

    /// Places new points whose nearest points of the fit are known: `knn` has a row per new point, nearest first.
    ///
    /// # Errors
    /// - [`UmapError::Precomputed`]: an index past the points of the fit;
    /// - [`UmapError::Cancelled`]: the callback asked to stop.
    pub fn transform_neighbours(
        &self,
        knn: &Knn,
        progress: Progress<'_>,
    ) -> Result<Array2<f32>, UmapError> {
        let n = self.embedding.nrows();
        for (row, ids) in knn.indices().rows().into_iter().enumerate() {
            if let Some(j) = ids.iter().find(|&&j| j != Knn::MISSING && j as usize >= n) {
                return Err(UmapError::Precomputed {
                    row,
                    reason: format!("neighbour {j}, and the fit has {n} points"),
                });
            }
        }
        self.place(knn, Ticker::new(progress))
    }

    fn place(&self, knn: &Knn, ticker: Ticker<'_>) -> Result<Array2<f32>, UmapError> {
        let dimensions = self.embedding.ncols();
        macro_rules! with_dimensions {
            ($($d:literal)*) => {
                match DIMENSIONS.into_iter().find(|d| *d >= dimensions) {
                    $(Some($d) => self.place_in::<$d>(knn, ticker),)*
                    _ => Err(UmapError::parameter("n_components", dimensions, "1 to 32")),
                }
            };
        }
        with_dimensions!(2 4 8 32)
    }

    fn place_in<const D: usize>(
        &self,
        knn: &Knn,
        mut ticker: Ticker<'_>,
    ) -> Result<Array2<f32>, UmapError> {
        let map = to_points::<D>(&self.embedding);
        let connectivity = (self.params.local_connectivity - 1.0).max(0.0);
        // The scale of the fit bounds the widths, not that of the other new points.
        let scales = smooth_knn(knn, connectivity, mean_distance(&self.knn));
        let weights = strengths(knn, &scales, false);
        let epochs = self
            .params
            .epochs
            .map_or(if knn.len() <= 10_000 { 100 } else { 30 }, |e| {
                (e / 3).max(1)
            });
        let stream = Stream::new(self.params.seed, Purpose::Transform);
        let forces = Forces::new(self.report.curve, self.params.repulsion_strength as f32);
        let k = knn.k();
        let mut placed = vec![[f32::NAN; D]; knn.len()];
        for (b, batch) in placed.chunks_mut(BATCH).enumerate() {
            ticker.at(b * BATCH, knn.len())?;
            batch
                .par_iter_mut()
                .enumerate()
                .with_min_len(16)
                .for_each(|(at, point)| {
                    let i = b * BATCH + at;
                    let row = Row::new(knn, i, &weights[i * k..(i + 1) * k], &map, epochs);
                    let Some(start) = row.start(&map) else { return };
                    *point = start;
                    for epoch in 0..epochs {
                        let step = Step {
                            forces,
                            // umap-learn moves new points with a quarter of the rate.
                            rate: rate_at(epoch, epochs, self.params.learning_rate as f32 / 4.0),
                            negatives: self.params.negative_sample_rate,
                            epoch,
                            key: stream.fork(row.key).at(epoch as u64) as u32,
                            snapshot: &map,
                        };
                        run_fixed(
                            point,
                            &Fixed {
                                columns: &row.columns,
                                rates: &row.rates,
                                first: 0,
                            },
                            &step,
                        );
                    }
                });
        }
        Ok(from_points(&placed, self.embedding.ncols()))
    }
}

/// The edges of one new point to points that have a place.
struct Row {
    columns: Vec<u32>,
    weights: Vec<f32>,
    /// Weights as shares of the largest, without those that would be visited less than once.
    rates: Vec<f32>,
    /// Depends on the neighbours only, so that the point is placed alike in any company.
    key: u64,
}

impl Row {
    fn new<const D: usize>(
        knn: &Knn,
        i: usize,
        weights: &[f32],
        map: &[[f32; D]],
        epochs: usize,
    ) -> Self {
        let placed = |j: u32| map[j as usize].iter().all(|v| v.is_finite());
        let pairs = knn
            .indices()
            .row(i)
            .to_vec()
            .into_iter()
            .zip(weights.iter().copied());
        let (columns, weights): (Vec<u32>, Vec<f32>) =
            pairs.filter(|&(j, w)| w > 0.0 && placed(j)).unzip();
        let largest = weights.iter().copied().fold(0.0, f32::max);
        let least = 1.0 / epochs as f32;
        let rates = weights
            .iter()
            .map(|w| {
                if w / largest < least {
                    0.0
                } else {
                    w / largest
                }
            })
            .collect();
        let key = columns.iter().zip(&weights).fold(0, |h, (j, w)| {
            mix64(h ^ u64::from(*j) ^ (u64::from(w.to_bits()) << 32))
        });
        Self {
            columns,
            weights,
            rates,
            key,
        }
    }

    /// The place of an equal point of the fit, else the weighted mean of the neighbours; `None` without neighbours.
    fn start<const D: usize>(&self, map: &[[f32; D]]) -> Option<[f32; D]> {
        let total: f32 = self.weights.iter().sum();
        if let Some(at) = self.weights.iter().position(|w| *w == 1.0) {
            return Some(map[self.columns[at] as usize]);
        }
        if total <= 0.0 {
            return None;
        }
        let mut mean = [0.0; D];
        for (&j, &w) in self.columns.iter().zip(&self.weights) {
            mean.iter_mut()
                .zip(map[j as usize])
                .for_each(|(m, v)| *m += w / total * v);
        }
        Some(mean)
    }
}
