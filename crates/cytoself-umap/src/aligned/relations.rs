//! Which point of one slice is which of another.

use std::collections::BTreeSet;

use rayon::prelude::*;

use crate::{FuzzyGraph, UmapError};

/// Pairs (point of slice i, point of slice i + 1), one to one.
///
/// # Example
/// ```
/// use cytoself_umap::Relation;
///
/// // The second slice begins 25 points later.
/// let relation = Relation::new((25..50).map(|i| (i, i - 25)));
/// assert_eq!(relation.pairs().len(), 25);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Relation(Vec<(u32, u32)>);

/// No partner.
const NONE: u32 = u32::MAX;

impl Relation {
    /// A relation of the given pairs; [`crate::ValidAlignedParams::fit`] checks them.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (u32, u32)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// Point i is point i, for `n` points.
    #[must_use]
    pub fn identity(n: usize) -> Self {
        Self((0..n as u32).map(|i| (i, i)).collect())
    }

    /// The pairs.
    #[must_use]
    pub fn pairs(&self) -> &[(u32, u32)] {
        &self.0
    }

    pub(super) fn check(
        &self,
        relation: usize,
        before: usize,
        after: usize,
    ) -> Result<(), UmapError> {
        let (mut left, mut right) = (BTreeSet::new(), BTreeSet::new());
        for (entry, &(a, b)) in self.0.iter().enumerate() {
            let reason = if a as usize >= before {
                format!("point {a}, and slice {relation} has {before}")
            } else if b as usize >= after {
                format!("point {b}, and slice {} has {after}", relation + 1)
            } else if !left.insert(a) {
                format!("point {a} of slice {relation} is related twice")
            } else if !right.insert(b) {
                format!("point {b} of slice {} is related twice", relation + 1)
            } else {
                continue;
            };
            return Err(UmapError::Relation {
                relation,
                entry,
                reason,
            });
        }
        Ok(())
    }

    /// Partner of every point of the earlier slice (`forward`) or of the later one.
    fn map(&self, len: usize, forward: bool) -> Vec<u32> {
        let mut out = vec![NONE; len];
        for &(a, b) in &self.0 {
            let (from, to) = if forward { (a, b) } else { (b, a) };
            if let Some(slot) = out.get_mut(from as usize) {
                *slot = to;
            }
        }
        out
    }
}

/// The same point in another slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) slice: u32,
    pub(super) point: u32,
    pub(super) strength: f32,
}

/// All links, by slice and point.
pub(super) struct Links(Vec<Vec<Vec<Link>>>);

impl Links {
    /// Links over at most `window` slices either way.
    pub(super) fn new(
        relations: &[Relation],
        graphs: &[&FuzzyGraph],
        window: usize,
        compat: bool,
    ) -> Self {
        let slices = graphs.len();
        let all = (0..slices).map(|s| {
            let mut links = vec![Vec::new(); graphs[s].len()];
            let visits = visits(graphs[s]);
            for other in (0..slices).filter(|&o| o != s && o.abs_diff(s) <= window) {
                // umap-learn's loop ends before +window, and its last forward relation is never expanded.
                let dropped = other > s && (other - s == window || other > relations.len() - 1);
                if compat && dropped {
                    continue;
                }
                let partners = partners(relations, graphs, s, other);
                add(&mut links, graphs, [s, other], &partners, &visits);
            }
            links
        });
        Self(all.collect())
    }

    pub(super) fn of(&self, slice: usize, point: usize) -> &[Link] {
        &self.0[slice][point]
    }
}

/// Expected visits of every vertex per epoch, as head and as tail.
fn visits(graph: &FuzzyGraph) -> Vec<f32> {
    let largest = graph
        .weights
        .iter()
        .copied()
        .fold(f32::MIN_POSITIVE, f32::max);
    (0..graph.len())
        .map(|i| 2.0 * graph.row(i).1.iter().sum::<f32>() / largest)
        .collect()
}

/// Partner in slice `to` of every point of slice `from`, through the slices between.
fn partners(relations: &[Relation], graphs: &[&FuzzyGraph], from: usize, to: usize) -> Vec<u32> {
    let mut at: Vec<u32> = (0..graphs[from].len() as u32).collect();
    let mut slice = from;
    while slice != to {
        let forward = to > slice;
        let relation = if forward {
            &relations[slice]
        } else {
            &relations[slice - 1]
        };
        let map = relation.map(graphs[slice].len(), forward);
        at.iter_mut()
            .filter(|p| **p != NONE)
            .for_each(|p| *p = map[*p as usize]);
        slice = if forward { slice + 1 } else { slice - 1 };
    }
    at
}

fn add(
    links: &mut [Vec<Link>],
    graphs: &[&FuzzyGraph],
    [s, other]: [usize; 2],
    partners: &[u32],
    visits: &[f32],
) {
    let mut known = vec![false; graphs[other].len()];
    partners
        .iter()
        .filter(|p| **p != NONE)
        .for_each(|p| known[*p as usize] = true);
    // 1 for the next slice, 1/e for the one after: umap-learn's decay, by own arithmetic.
    let decay = crate::math::exp(-(other.abs_diff(s) as f64 - 1.0)) as f32;
    links
        .par_iter_mut()
        .enumerate()
        .with_min_len(256)
        .for_each(|(i, links)| {
            let point = partners[i];
            if point != NONE {
                let likeness = likeness(
                    graphs[s].row(i).0,
                    graphs[other].row(point as usize).0,
                    partners,
                    &known,
                );
                links.push(Link {
                    slice: other as u32,
                    point,
                    strength: decay * likeness * visits[i],
                });
            }
        });
}

/// Jaccard index of a neighbourhood, mapped, and another, as far as both slices know the points; 1 when none is known.
fn likeness(own: &[u32], other: &[u32], partners: &[u32], known: &[bool]) -> f32 {
    let mapped: BTreeSet<u32> = own
        .iter()
        .map(|&j| partners[j as usize])
        .filter(|&p| p != NONE)
        .collect();
    let other: BTreeSet<u32> = other
        .iter()
        .copied()
        .filter(|&j| known[j as usize])
        .collect();
    let union = mapped.union(&other).count();
    if union == 0 {
        1.0
    } else {
        mapped.intersection(&other).count() as f32 / union as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(n: usize) -> FuzzyGraph {
        FuzzyGraph::from_rows((0..n as u32).map(|i| (vec![(i + 1) % n as u32], vec![1.0])))
    }

    #[test]
    fn both_sides_and_the_last_relation_count_unless_compat() {
        let graphs: Vec<FuzzyGraph> = (0..4).map(|_| graph(5)).collect();
        let graphs: Vec<&FuzzyGraph> = graphs.iter().collect();
        let relations = vec![Relation::identity(5); 3];
        let slices =
            |links: &Links, s: usize| links.of(s, 2).iter().map(|l| l.slice).collect::<Vec<_>>();
        let ours = Links::new(&relations, &graphs, 2, false);
        assert_eq!(
            (slices(&ours, 0), slices(&ours, 2), slices(&ours, 3)),
            (vec![1, 2], vec![0, 1, 3], vec![1, 2])
        );
        let theirs = Links::new(&relations, &graphs, 2, true);
        assert_eq!(
            (slices(&theirs, 0), slices(&theirs, 2), slices(&theirs, 3)),
            (vec![1], vec![0, 1], vec![1, 2])
        );
    }

    #[test]
    fn partners_go_through_the_slices_between() {
        let graphs: Vec<FuzzyGraph> = (0..3).map(|_| graph(4)).collect();
        let graphs: Vec<&FuzzyGraph> = graphs.iter().collect();
        let relations = [Relation::new([(1, 0), (2, 3)]), Relation::new([(3, 1)])];
        assert_eq!(
            partners(&relations, &graphs, 0, 2),
            vec![NONE, NONE, 1, NONE]
        );
        assert_eq!(
            partners(&relations, &graphs, 2, 0),
            vec![NONE, 2, NONE, NONE]
        );
    }

    #[test]
    fn doubles_and_strangers_are_named() {
        let error = Relation::new([(0, 0), (1, 0)]).check(3, 5, 5).unwrap_err();
        assert!(matches!(
            error,
            UmapError::Relation {
                relation: 3,
                entry: 1,
                ..
            }
        ));
        assert!(Relation::new([(5, 0)]).check(0, 5, 5).is_err());
    }
}
