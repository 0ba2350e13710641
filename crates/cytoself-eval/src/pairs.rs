use std::collections::BTreeSet;

use ndarray::ArrayView2;

use crate::EvalError;

/// How far known pairs (interactions, members of one complex) stand out among all pairs by similarity.
#[derive(Debug, Clone, PartialEq)]
pub struct PairRecovery {
    /// Known pairs that were judged, without doubles and self-pairs.
    pub known: usize,
    /// All pairs of rows.
    pub pairs: usize,
    /// Share of the known pairs in the two tails of all similarities; chance is twice the tail.
    pub recall: f64,
    /// Probability that a known pair is more similar than another pair, ties counting half; chance is 0.5.
    pub auroc: f64,
    /// Area under precision against recall; chance is `known / pairs`.
    pub average_precision: f64,
}

impl PairRecovery {
    /// Compares the similarity of known pairs with that of all pairs of rows.
    ///
    /// A pair is recalled when its similarity is at or below the `tail` quantile of all pairs, or at or above the
    /// `1 - tail` quantile.
    ///
    /// # Shapes
    /// `similarity: [n, n]`, symmetric, one row per entity (protein).
    ///
    /// # Errors
    /// - `similarity` is not square, or a pair names a row that does not exist;
    /// - there is no known pair, or no other pair;
    /// - `tail` is not in (0, 0.5).
    ///
    /// # References
    /// Celik et al. 2024, "Building, benchmarking, and exploring perturbative maps of transcriptional and morphological
    /// data", doi:10.1371/journal.pcbi.1012463.
    ///
    /// # Example
    /// ```
    /// use cytoself_eval::PairRecovery;
    /// let s = ndarray::array![[1.0, 0.9, 0.1], [0.9, 1.0, 0.3], [0.1, 0.3, 1.0]];
    /// let found = PairRecovery::of(s.view(), &[(1, 0), (0, 1)], 0.05)?;
    /// assert_eq!((found.known, found.recall, found.auroc), (1, 1.0, 1.0));
    /// # Ok::<(), cytoself_eval::EvalError>(())
    /// ```
    pub fn of(
        similarity: ArrayView2<'_, f64>,
        known: &[(usize, usize)],
        tail: f64,
    ) -> Result<Self, EvalError> {
        let n = similarity.nrows();
        if similarity.ncols() != n {
            let what = "columns of the similarity";
            return Err(EvalError::Shape {
                what,
                expected: n,
                found: similarity.ncols(),
            });
        }
        if !(tail > 0.0 && tail < 0.5) {
            return Err(EvalError::Parameter {
                name: "tail",
                found: tail.to_string(),
                expected: "above 0 and below 0.5",
            });
        }
        if let Some(&(i, j)) = known.iter().find(|p| p.0 >= n || p.1 >= n) {
            return Err(EvalError::Shape {
                what: "rows named by the pairs",
                expected: n,
                found: i.max(j) + 1,
            });
        }
        let known: BTreeSet<(usize, usize)> = known
            .iter()
            .filter(|p| p.0 != p.1)
            .map(|p| (p.0.min(p.1), p.0.max(p.1)))
            .collect();
        let mut all: Vec<(f64, bool)> = Vec::with_capacity(n * n.saturating_sub(1) / 2);
        for i in 0..n {
            all.extend((i + 1..n).map(|j| (similarity[[i, j]], known.contains(&(i, j)))));
        }
        if known.is_empty() || known.len() == all.len() {
            let found = if known.is_empty() {
                0
            } else {
                all.len() - known.len()
            };
            return Err(EvalError::TooFew {
                what: "known pairs and other pairs",
                needed: 1,
                found,
            });
        }
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        Ok(Self {
            known: known.len(),
            pairs: all.len(),
            recall: recall(&all, tail),
            auroc: auroc(&all),
            average_precision: average_precision(&all),
        })
    }
}

/// Runs of equal similarity in descending order: known pairs and all pairs of each.
fn runs(all: &[(f64, bool)]) -> impl Iterator<Item = (f64, f64)> {
    all.chunk_by(|a, b| a.0 == b.0)
        .map(|run| (run.iter().filter(|p| p.1).count() as f64, run.len() as f64))
}

fn recall(descending: &[(f64, bool)], tail: f64) -> f64 {
    let ascending: Vec<f64> = descending.iter().rev().map(|p| p.0).collect();
    let low = crate::bootstrap::percentile(&ascending, tail);
    let high = crate::bootstrap::percentile(&ascending, 1.0 - tail);
    let known = descending.iter().filter(|p| p.1);
    let (recalled, total) = known.fold((0.0, 0.0), |(r, t), p| {
        (r + f64::from(p.0 <= low || p.0 >= high), t + 1.0)
    });
    recalled / total
}

fn auroc(descending: &[(f64, bool)]) -> f64 {
    let known = descending.iter().filter(|p| p.1).count() as f64;
    let others = descending.len() as f64 - known;
    let (mut above, mut wins) = (0.0, 0.0);
    for (hits, size) in runs(descending) {
        let misses = size - hits;
        wins += misses * (above + hits / 2.0);
        above += hits;
    }
    wins / (known * others)
}

/// Step-wise area, a tie as one step, as scikit-learn's `average_precision_score`.
fn average_precision(descending: &[(f64, bool)]) -> f64 {
    let known = descending.iter().filter(|p| p.1).count() as f64;
    let (mut hits, mut seen, mut area) = (0.0, 0.0, 0.0);
    for (run_hits, size) in runs(descending) {
        hits += run_hits;
        seen += size;
        area += run_hits / known * hits / seen;
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn ties_count_half() {
        let found =
            PairRecovery::of(Array2::<f64>::ones((5, 5)).view(), &[(0, 1), (2, 3)], 0.1).unwrap();
        assert_eq!(found.auroc, 0.5);
        assert!((found.average_precision - 0.2).abs() < 1e-15);
    }

    #[test]
    fn random_pairs_are_recalled_at_twice_the_tail() {
        let n = 150;
        let value = |i: usize, j: usize| {
            (crate::random::hash(9, i.min(j) as u64, i.max(j) as u64) >> 11) as f64
        };
        let s = Array2::from_shape_fn((n, n), |(i, j)| value(i, j));
        let known: Vec<_> = (0..n)
            .flat_map(|i| {
                (i + 1..n)
                    .filter(move |j| (i + j) % 5 == 0)
                    .map(move |j| (i, j))
            })
            .collect();
        let found = PairRecovery::of(s.view(), &known, 0.05).unwrap();
        assert!(
            (found.recall - 0.1).abs() < 0.02 && (found.auroc - 0.5).abs() < 0.03,
            "{found:?}"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let s = Array2::<f64>::ones((3, 3));
        assert!(PairRecovery::of(s.view(), &[], 0.1).is_err());
        assert!(PairRecovery::of(s.view(), &[(1, 1)], 0.1).is_err());
        assert!(PairRecovery::of(s.view(), &[(0, 3)], 0.1).is_err());
        assert!(PairRecovery::of(s.view(), &[(0, 1)], 0.5).is_err());
    }
}
