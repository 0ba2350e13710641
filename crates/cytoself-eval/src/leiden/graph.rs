use std::collections::BTreeMap;

use crate::{EvalError, Neighbours};

/// An undirected weighted graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    starts: Vec<usize>,
    /// Neighbours of all nodes, by node; no loops.
    links: Vec<(usize, f64)>,
    /// Twice the weight inside a node, which is more than 0 only where nodes stand for groups.
    inside: Vec<f64>,
    degrees: Vec<f64>,
}

impl Graph {
    /// Builds a graph of `nodes` nodes from edges `(i, j, weight)`; edges given twice, in either direction, add up.
    ///
    /// # Errors
    /// - an edge names a node that does not exist;
    /// - a weight is negative or not finite.
    pub fn new(nodes: usize, edges: &[(usize, usize, f64)]) -> Result<Self, EvalError> {
        let mut sums: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        let mut inside = vec![0.0; nodes];
        for (row, &(i, j, weight)) in edges.iter().enumerate() {
            if i >= nodes || j >= nodes {
                return Err(EvalError::Shape {
                    what: "nodes of the graph",
                    expected: nodes,
                    found: i.max(j) + 1,
                });
            }
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(EvalError::NotFinite {
                    row,
                    column: 2,
                    value: weight.to_string(),
                });
            }
            if i == j {
                inside[i] += 2.0 * weight;
            } else {
                *sums.entry((i, j)).or_insert(0.0) += weight;
                *sums.entry((j, i)).or_insert(0.0) += weight;
            }
        }
        Ok(Self::from_sums(nodes, sums, inside))
    }

    /// The graph of nearest neighbours, every list entry an edge of weight 1; mutual neighbours weigh 2.
    ///
    /// # Errors
    /// - a list names a row that does not exist.
    pub fn of_neighbours(neighbours: &Neighbours) -> Result<Self, EvalError> {
        let edges: Vec<(usize, usize, f64)> = neighbours
            .lists
            .iter()
            .enumerate()
            .flat_map(|(row, list)| list.iter().map(move |&(other, _)| (row, other, 1.0)))
            .collect();
        Self::new(neighbours.lists.len(), &edges)
    }

    fn from_sums(nodes: usize, sums: BTreeMap<(usize, usize), f64>, inside: Vec<f64>) -> Self {
        let mut starts = vec![0; nodes + 1];
        let mut degrees = inside.clone();
        let mut links = Vec::with_capacity(sums.len());
        for ((i, j), weight) in sums {
            starts[i + 1] += 1;
            degrees[i] += weight;
            links.push((j, weight));
        }
        (0..nodes).for_each(|i| starts[i + 1] += starts[i]);
        Self {
            starts,
            links,
            inside,
            degrees,
        }
    }

    /// Number of nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.degrees.len()
    }

    /// Neighbours of a node and the weights of the edges.
    ///
    /// # Panics
    /// Where the node does not exist.
    #[must_use]
    pub fn neighbours(&self, node: usize) -> &[(usize, f64)] {
        &self.links[self.starts[node]..self.starts[node + 1]]
    }

    pub(super) fn degree(&self, node: usize) -> f64 {
        self.degrees[node]
    }

    /// Twice the weight of all edges.
    pub(super) fn total(&self) -> f64 {
        self.degrees.iter().sum()
    }

    /// Quality of a partition, `1/2m sum_ij (A_ij - resolution k_i k_j / 2m) [c_i = c_j]`; 0 without edges.
    ///
    /// # Panics
    /// Where `communities` is shorter than the graph.
    #[must_use]
    pub fn modularity(&self, communities: &[usize], resolution: f64) -> f64 {
        let total = self.total();
        if total == 0.0 {
            return 0.0;
        }
        let mut degree: BTreeMap<usize, f64> = BTreeMap::new();
        let mut within = 0.0;
        for node in 0..self.nodes() {
            *degree.entry(communities[node]).or_insert(0.0) += self.degrees[node];
            let own = self
                .neighbours(node)
                .iter()
                .filter(|(other, _)| communities[*other] == communities[node]);
            within += self.inside[node] + own.map(|(_, weight)| weight).sum::<f64>();
        }
        let expected: f64 = degree.values().map(|d| d * d).sum();
        (within - resolution * expected / total) / total
    }

    /// The graph whose nodes are the groups.
    pub(super) fn aggregate(&self, groups: &[usize]) -> Self {
        let nodes = groups.iter().max().map_or(0, |g| g + 1);
        let mut sums = BTreeMap::new();
        let mut inside = vec![0.0; nodes];
        for node in 0..self.nodes() {
            let group = groups[node];
            inside[group] += self.inside[node];
            for &(other, weight) in self.neighbours(node) {
                if groups[other] == group {
                    inside[group] += weight;
                } else {
                    *sums.entry((group, groups[other])).or_insert(0.0) += weight;
                }
            }
        }
        Self::from_sums(nodes, sums, inside)
    }
}
