//! Connected components.

use crate::fuzzy::FuzzyGraph;

/// The components with at least one edge, in the order of their first vertex.
pub(crate) struct Components {
    /// Vertices of each component, increasing.
    pub(crate) groups: Vec<Vec<u32>>,
}

pub(crate) fn components(graph: &FuzzyGraph) -> Components {
    let mut label = vec![u32::MAX; graph.len()];
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for start in 0..graph.len() {
        if label[start] != u32::MAX || graph.row(start).0.is_empty() {
            continue;
        }
        let mark = groups.len() as u32;
        label[start] = mark;
        let mut members = vec![start as u32];
        let mut next = 0;
        while next < members.len() {
            for &j in graph.row(members[next] as usize).0 {
                if label[j as usize] == u32::MAX {
                    label[j as usize] = mark;
                    members.push(j);
                }
            }
            next += 1;
        }
        members.sort_unstable();
        groups.push(members);
    }
    Components { groups }
}

/// The graph of one component with the vertices renumbered.
pub(crate) fn subgraph(graph: &FuzzyGraph, members: &[u32]) -> FuzzyGraph {
    if members.len() == graph.len() {
        return graph.clone();
    }
    let local = |j: u32| members.binary_search(&j).map_or(u32::MAX, |at| at as u32);
    FuzzyGraph::from_rows(members.iter().map(|&i| {
        let (columns, weights) = graph.row(i as usize);
        (
            columns.iter().map(|&j| local(j)).collect(),
            weights.to_vec(),
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_components_and_an_isolated_vertex() {
        let row = |c: &[u32]| (c.to_vec(), vec![1.0; c.len()]);
        let graph = FuzzyGraph::from_rows([row(&[2]), row(&[4]), row(&[0]), row(&[]), row(&[1])]);
        let found = components(&graph);
        assert_eq!(found.groups, vec![vec![0, 2], vec![1, 4]]);
        assert_eq!(
            subgraph(&graph, &found.groups[1]),
            FuzzyGraph::from_rows([row(&[1]), row(&[0])])
        );
    }
}
