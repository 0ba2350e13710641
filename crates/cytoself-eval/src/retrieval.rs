use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::EvalError;
use crate::distance::Coordinate;
use crate::neighbours::check_finite;
use crate::random::Stream;

/// Cosine similarity of all pairs of rows; 0 with a row of zeros.
///
/// # Shapes
/// `profiles: [n, d]`, finite; returns `[n, n]`, symmetric.
///
/// # Errors
/// - an entry is not finite.
///
/// # Example
/// ```
/// let profiles = ndarray::array![[1.0, 0.0], [3.0, 4.0], [0.0, 0.0]];
/// let s = cytoself_eval::cosine_similarities(profiles.view())?;
/// assert_eq!(s[[0, 1]], 0.6);
/// assert_eq!(s[[0, 2]], 0.0);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn cosine_similarities<T: Coordinate>(
    profiles: ArrayView2<'_, T>,
) -> Result<Array2<f64>, EvalError> {
    check_finite(profiles)?;
    let mut unit = profiles.mapv(Into::<f64>::into);
    for mut row in unit.outer_iter_mut() {
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 0.0 {
            row /= norm;
        }
    }
    let product = unit.dot(&unit.t());
    Ok(Array2::from_shape_fn(product.dim(), |(i, j)| {
        product[[i.min(j), i.max(j)]].clamp(-1.0, 1.0)
    }))
}

/// How well a group (a protein, a complex) is found by similarity.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieval {
    /// Query row.
    pub query: usize,
    /// Mean over the positives of the precision at their rank.
    pub average_precision: f64,
    /// Share of random rankings with the same numbers that do as well (at least `1 / (null + 1)`).
    pub p_value: f64,
    /// The same after Benjamini-Hochberg over all queries.
    pub q_value: f64,
}

/// Average precision of every row that has a fellow in its group, with a null of random rankings.
///
/// Rows are ranked by descending similarity to the query. A positive that ties with negatives ranks behind them, so a
/// tie never helps. The mean of the average precisions is the mAP.
///
/// # Shapes
/// `similarity: [n, n]`; `group[i]` may be `None` for a row that is a negative for everyone.
///
/// # Errors
/// - `similarity` is not square or `group` has another length;
/// - `null` is 0.
///
/// # References
/// Kalinin et al. 2025, "A versatile information retrieval framework for evaluating profile strength and similarity",
/// doi:10.1038/s41467-025-60306-2.
///
/// # Example
/// ```
/// let s = ndarray::array![[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]];
/// let found = cytoself_eval::average_precision(s.view(), &[Some(0), Some(0), Some(1)], 100, 42)?;
/// assert_eq!(found.len(), 2);
/// assert_eq!(found[0].average_precision, 1.0);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn average_precision(
    similarity: ArrayView2<'_, f64>,
    group: &[Option<usize>],
    null: usize,
    seed: u64,
) -> Result<Vec<Retrieval>, EvalError> {
    let n = similarity.nrows();
    for (what, found) in [
        ("columns of the similarity", similarity.ncols()),
        ("groups, one per row", group.len()),
    ] {
        if found != n {
            return Err(EvalError::Shape {
                what,
                expected: n,
                found,
            });
        }
    }
    if null == 0 {
        return Err(EvalError::Parameter {
            name: "null",
            found: "0".into(),
            expected: "at least 1",
        });
    }
    let positives = |query: usize| -> Vec<usize> {
        (0..n)
            .filter(|&j| j != query && group[query].is_some() && group[j] == group[query])
            .collect()
    };
    let mut counts: Vec<usize> = (0..n)
        .map(|q| positives(q).len())
        .filter(|&c| c > 0)
        .collect();
    counts.sort_unstable();
    counts.dedup();
    let nulls: Vec<Vec<f64>> = counts
        .par_iter()
        .map(|&c| random_precisions(c, n - 1, null, seed))
        .collect();
    let mut found: Vec<Retrieval> = (0..n)
        .into_par_iter()
        .filter_map(|query| {
            let positives = positives(query);
            let null = &nulls[counts.binary_search(&positives.len()).ok()?];
            let ap = precision_at_ranks(&ranks(similarity, query, &positives));
            let as_good = null.len() - null.partition_point(|&v| v < ap);
            let p_value = (1 + as_good) as f64 / (1 + null.len()) as f64;
            Some(Retrieval {
                query,
                average_precision: ap,
                p_value,
                q_value: p_value,
            })
        })
        .collect();
    benjamini_hochberg(&mut found);
    Ok(found)
}

/// Ranks of the positives, from 1, ascending.
fn ranks(similarity: ArrayView2<'_, f64>, query: usize, positives: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..similarity.ncols()).filter(|&j| j != query).collect();
    let is_positive = |j: &usize| positives.binary_search(j).is_ok();
    order.sort_by(|a, b| {
        let by_similarity = similarity[[query, *b]].total_cmp(&similarity[[query, *a]]);
        by_similarity
            .then(is_positive(a).cmp(&is_positive(b)))
            .then(a.cmp(b))
    });
    order
        .iter()
        .zip(1..)
        .filter(|(j, _)| is_positive(j))
        .map(|(_, rank)| rank)
        .collect()
}

fn precision_at_ranks(ranks: &[usize]) -> f64 {
    ranks
        .iter()
        .zip(1..)
        .map(|(&rank, found)| f64::from(found) / rank as f64)
        .sum::<f64>()
        / ranks.len().max(1) as f64
}

/// Sorted average precisions of random rankings of `positives` among `total`.
fn random_precisions(positives: usize, total: usize, size: usize, seed: u64) -> Vec<f64> {
    let mut null: Vec<f64> = (0..size)
        .map(|draw| {
            let mut stream = Stream::new(seed ^ (positives as u64) << 32, draw as u64);
            // Floyd's sampling of a set of ranks.
            let mut ranks = std::collections::BTreeSet::new();
            for last in total - positives..total {
                let rank = stream.below(last + 1);
                if !ranks.insert(rank) {
                    ranks.insert(last);
                }
            }
            precision_at_ranks(&ranks.into_iter().map(|r| r + 1).collect::<Vec<_>>())
        })
        .collect();
    null.sort_by(f64::total_cmp);
    null
}

fn benjamini_hochberg(found: &mut [Retrieval]) {
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|&a, &b| found[b].p_value.total_cmp(&found[a].p_value));
    let (count, mut smallest) = (found.len() as f64, 1.0f64);
    for (from_top, &at) in order.iter().enumerate() {
        let rank = count - from_top as f64;
        smallest = smallest.min(found[at].p_value * count / rank);
        found[at].q_value = smallest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_of_ranks_one_and_three() {
        assert!((precision_at_ranks(&[1, 3]) - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-15);
    }

    #[test]
    fn a_tie_never_helps() {
        let s = Array2::<f64>::ones((4, 4));
        let found = average_precision(s.view(), &[Some(0), Some(0), Some(1), None], 10, 1).unwrap();
        assert!((found[0].average_precision - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn unrelated_profiles_have_even_p_values() {
        let profiles = Array2::from_shape_fn((120, 30), |(i, j)| {
            (crate::random::hash(5, i as u64, j as u64) >> 40) as f64 - 8e6
        });
        let s = cosine_similarities(profiles.view()).unwrap();
        let group: Vec<_> = (0..120).map(|i| Some(i / 4)).collect();
        let found = average_precision(s.view(), &group, 500, 3).unwrap();
        let mean = found.iter().map(|r| r.p_value).sum::<f64>() / 120.0;
        assert!((mean - 0.5).abs() < 0.12, "{mean}");
        assert!(found.iter().all(|r| r.q_value >= r.p_value));
    }
}
