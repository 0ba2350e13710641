//! Symmetric combination of the directed memberships.

use rayon::prelude::*;

use super::FuzzyGraph;
use crate::Knn;

/// Rows merged by one task.
const ROWS: usize = 4096;

/// `mix` times the union A + A' - A o A' plus `1 - mix` times the intersection A o A'.
pub(crate) fn union(knn: &Knn, strengths: &[f32], mix: f32) -> FuzzyGraph {
    let k = knn.k();
    let indices = knn.indices();
    let rows = (0..knn.len()).into_par_iter().with_min_len(64).map(|i| {
        let pairs = indices
            .row(i)
            .into_iter()
            .copied()
            .zip(strengths[i * k..(i + 1) * k].iter().copied());
        let mut row: Vec<(u32, f32)> = pairs.filter(|p| p.1 > 0.0).collect();
        row.sort_unstable_by_key(|p| p.0);
        row.dedup_by_key(|p| p.0);
        row.into_iter().unzip()
    });
    let directed: Vec<(Vec<u32>, Vec<f32>)> = rows.collect();
    symmetrise(&FuzzyGraph::from_rows(directed), mix)
}

/// The symmetric graph of a directed one whose rows are sorted.
pub(crate) fn symmetrise(directed: &FuzzyGraph, mix: f32) -> FuzzyGraph {
    let transposed = transpose(directed);
    let n = directed.len();
    let parts: Vec<Vec<(Vec<u32>, Vec<f32>)>> = (0..n.div_ceil(ROWS))
        .into_par_iter()
        .map(|part| {
            let rows = part * ROWS..((part + 1) * ROWS).min(n);
            rows.map(|i| merge(directed.row(i), transposed.row(i), mix))
                .collect()
        })
        .collect();
    FuzzyGraph::from_rows(parts.into_iter().flatten())
}

/// Columns become rows; the order within a row stays increasing.
fn transpose(graph: &FuzzyGraph) -> FuzzyGraph {
    let mut offsets = vec![0_usize; graph.offsets.len()];
    for &c in &graph.columns {
        offsets[c as usize + 1] += 1;
    }
    for i in 1..offsets.len() {
        offsets[i] += offsets[i - 1];
    }
    let mut next = offsets.clone();
    let (mut columns, mut weights) = (vec![0; graph.columns.len()], vec![0.0; graph.columns.len()]);
    for i in 0..graph.len() {
        let (row, values) = graph.row(i);
        for (&c, &w) in row.iter().zip(values) {
            let at = next[c as usize];
            (columns[at], weights[at]) = (i as u32, w);
            next[c as usize] += 1;
        }
    }
    FuzzyGraph {
        offsets,
        columns,
        weights,
    }
}

/// Merges a row and the same row of the transpose.
fn merge(out: (&[u32], &[f32]), back: (&[u32], &[f32]), mix: f32) -> (Vec<u32>, Vec<f32>) {
    let (mut columns, mut weights) = (
        Vec::with_capacity(out.0.len()),
        Vec::with_capacity(out.0.len()),
    );
    let (mut a, mut b) = (0, 0);
    while a < out.0.len() || b < back.0.len() {
        let left = out.0.get(a).copied().unwrap_or(u32::MAX);
        let right = back.0.get(b).copied().unwrap_or(u32::MAX);
        let column = left.min(right);
        let forward = if left == column { out.1[a] } else { 0.0 };
        let backward = if right == column { back.1[b] } else { 0.0 };
        a += usize::from(left == column);
        b += usize::from(right == column);
        let both = forward * backward;
        let weight = mix * (forward + backward - both) + (1.0 - mix) * both;
        if weight > 0.0 {
            columns.push(column);
            weights.push(weight);
        }
    }
    (columns, weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn union_and_intersection() {
        // 0 -> 1 with 1, 1 -> 2 with 0.5, 2 -> 1 with 0.25.
        let knn = Knn::new(
            array![[0, 1], [1, 2], [2, 1]],
            array![[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]],
        )
        .unwrap();
        let strengths = [0.0, 1.0, 0.0, 0.5, 0.0, 0.25];
        let graph = union(&knn, &strengths, 1.0);
        assert_eq!(graph.row(0), (&[1][..], &[1.0][..]));
        assert_eq!(graph.row(1), (&[0, 2][..], &[1.0, 0.625][..]));
        assert_eq!(graph.row(2), (&[1][..], &[0.625][..]));
        let both = union(&knn, &strengths, 0.0);
        assert_eq!(
            (both.row(0).0.len(), both.row(2)),
            (0, (&[1][..], &[0.125][..]))
        );
    }
}
