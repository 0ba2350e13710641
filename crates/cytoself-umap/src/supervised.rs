//! A target that pulls the map along: classes or numbers known for the points.

use ndarray::Array2;
use rayon::prelude::*;

use crate::fuzzy::{FuzzyGraph, fuzzy_graph, symmetrise};
use crate::knn::self_knn;
use crate::math::{exp, ln};
use crate::metric::Metric;
use crate::params::ValidUmapParams;
use crate::progress::{Progress, Ticker, silent};
use crate::source::{DenseSpace, PointSource};
use crate::{UmapError, UmapModel};

/// What is known about the points besides their position.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A class per point; `None` where it is unknown (semi-supervised).
    Classes(Vec<Option<u32>>),
    /// A finite number per point.
    Values(Vec<f32>),
}

impl Target {
    fn len(&self) -> usize {
        match self {
            Self::Classes(c) => c.len(),
            Self::Values(v) => v.len(),
        }
    }
}

impl ValidUmapParams {
    /// Embeds the points so that those of one class, or of near values, come together; `target_weight` says how much.
    ///
    /// # Errors
    /// - as [`ValidUmapParams::fit`];
    /// - [`UmapError::Shape`]: the target has another length than the points;
    /// - [`UmapError::NotFinite`]: a target value is NaN or infinite.
    ///
    /// # Example
    /// ```
    /// use cytoself_umap::{ParamGuard, PointSource, Target, UmapParams, silent};
    /// use ndarray::Array2;
    ///
    /// let x = Array2::from_shape_fn((80, 2), |(i, j)| ((i * 7 + j * 3) % 40) as f32);
    /// let classes = Target::Classes((0..80).map(|i| Some(i % 2)).collect());
    /// let model = UmapParams::default().check()?.fit_supervised(&PointSource::dense(x.view())?, &classes, &mut silent())?;
    /// assert_eq!(model.embedding().nrows(), 80);
    /// # Ok::<(), cytoself_umap::UmapError>(())
    /// ```
    pub fn fit_supervised(
        &self,
        source: &PointSource<'_>,
        target: &Target,
        progress: Progress<'_>,
    ) -> Result<UmapModel, UmapError> {
        if target.len() != source.len() {
            return Err(UmapError::shape(
                "the target",
                format!("[{}]", source.len()),
                format!("[{}]", target.len()),
            ));
        }
        self.fit_graph(source, progress, |graph| match target {
            Target::Classes(classes) => Ok(by_class(graph, classes, self.target_weight)),
            Target::Values(values) => self.by_value(&graph, values),
        })
    }

    fn by_value(&self, graph: &FuzzyGraph, values: &[f32]) -> Result<FuzzyGraph, UmapError> {
        let column = Array2::from_shape_fn((values.len(), 1), |(i, _)| values[i]);
        let source = PointSource::dense(column.view())?;
        let PointSource::Dense(points) = &source else {
            return Ok(graph.clone());
        };
        let space = DenseSpace::new(points, Metric::Euclidean);
        let knn = self_knn(
            &space,
            self.n_neighbors.min(values.len()),
            Ticker::new(&mut silent()),
        )?;
        let other = fuzzy_graph(&knn, self.local_connectivity, 1.0);
        Ok(reconnect(intersect(graph, &other, self.target_weight)))
    }
}

/// Weakens the edges between different and unknown classes.
fn by_class(mut graph: FuzzyGraph, classes: &[Option<u32>], weight: f64) -> FuzzyGraph {
    // umap-learn: "far" is 2.5 / (1 - weight), and an unknown class is at distance 1.
    let far = if weight < 1.0 {
        2.5 / (1.0 - weight)
    } else {
        1e12
    };
    let (far, unknown) = (exp(-far) as f32, exp(-1.0) as f32);
    for i in 0..graph.len() {
        for at in graph.offsets[i]..graph.offsets[i + 1] {
            graph.weights[at] *= match (classes[i], classes[graph.columns[at] as usize]) {
                (Some(a), Some(b)) if a == b => 1.0,
                (Some(_), Some(_)) => far,
                _ => unknown,
            };
        }
    }
    reconnect(graph)
}

/// Makes the strongest edge of every point certain again and symmetrises.
fn reconnect(mut graph: FuzzyGraph) -> FuzzyGraph {
    for i in 0..graph.len() {
        let range = graph.offsets[i]..graph.offsets[i + 1];
        let largest = graph.weights[range.clone()]
            .iter()
            .copied()
            .fold(0.0, f32::max);
        if largest > 0.0 {
            graph.weights[range].iter_mut().for_each(|w| *w /= largest);
        }
    }
    symmetrise(&graph, 1.0)
}

/// The fuzzy intersection of two graphs, where an absent edge counts as half the weakest one.
fn intersect(left: &FuzzyGraph, right: &FuzzyGraph, weight: f64) -> FuzzyGraph {
    let weakest = |g: &FuzzyGraph| g.weights.iter().copied().fold(1.0, f32::min) / 2.0;
    let floor = [weakest(left).max(1e-8), weakest(right).clamp(1e-8, 1e-4)];
    let mix = |l: f32, r: f32| {
        let power = |v: f32, e: f64| exp(e * ln(f64::from(v)));
        match weight < 0.5 {
            true => (f64::from(l) * power(r, weight / (1.0 - weight))) as f32,
            false => (power(l, (1.0 - weight) / weight) * f64::from(r)) as f32,
        }
    };
    let rows: Vec<(Vec<u32>, Vec<f32>)> = (0..left.len())
        .into_par_iter()
        .map(|i| {
            let (a, b) = (left.row(i), right.row(i));
            let mut columns: Vec<u32> = a.0.iter().chain(b.0).copied().collect();
            columns.sort_unstable();
            columns.dedup();
            let at = |row: (&[u32], &[f32]), j: u32, low: f32| {
                row.0.binary_search(&j).map_or(low, |p| row.1[p])
            };
            let weights = columns
                .iter()
                .map(|&j| mix(at(a, j, floor[0]), at(b, j, floor[1])))
                .collect();
            (columns, weights)
        })
        .collect();
    FuzzyGraph::from_rows(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_across_classes_fades() {
        let row = |c: &[u32]| (c.to_vec(), vec![1.0; c.len()]);
        let graph = FuzzyGraph::from_rows([row(&[1, 2]), row(&[0, 2]), row(&[0, 1])]);
        let found = by_class(graph, &[Some(0), Some(0), Some(1)], 0.5);
        assert_eq!(found.row(0).1[0], 1.0);
        // Vertex 2 has only such edges; its own row is normalised to 1 before the union.
        assert_eq!(found.row(2).1, [1.0, 1.0]);
    }
}
