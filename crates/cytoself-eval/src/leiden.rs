mod graph;

pub use graph::Graph;

use crate::EvalError;
use crate::random::Stream;

/// How a graph is cut into communities.
///
/// # Defaults
/// - resolution 1 (modularity);
/// - at most 10 rounds; it stops when a round changes nothing;
/// - seed 42.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeidenParams {
    /// Larger gives more and smaller communities.
    pub resolution: f64,
    /// Limit of the rounds over the whole graph.
    pub rounds: usize,
    /// Seed of the order of visits and of the refinement.
    pub seed: u64,
}

impl Default for LeidenParams {
    fn default() -> Self {
        Self {
            resolution: 1.0,
            rounds: 10,
            seed: 42,
        }
    }
}

/// How readily the refinement takes a merge that is not the best; the value of the paper.
const RANDOMNESS: f64 = 0.01;

/// Finds communities by the Leiden algorithm with the quality of Reichardt and Bornholdt.
///
/// Maximises `sum_ij (A_ij - resolution k_i k_j / 2m) [c_i = c_j]`. Communities are connected. Returns one community
/// per node, numbered from 0 by decreasing size (equal sizes by their first node).
///
/// # Errors
/// - the resolution is negative or not a number.
///
/// # References
/// Traag, Waltman & van Eck 2019, "From Louvain to Leiden: guaranteeing well-connected communities",
/// doi:10.1038/s41598-019-41695-z. Reichardt & Bornholdt 2006, doi:10.1103/PhysRevE.74.016110.
///
/// # Example
/// ```
/// use cytoself_eval::{Graph, LeidenParams, leiden};
/// // Two triangles and a bridge.
/// let edges = [(0, 1, 1.0), (1, 2, 1.0), (0, 2, 1.0), (3, 4, 1.0), (4, 5, 1.0), (3, 5, 1.0), (2, 3, 1.0)];
/// let graph = Graph::new(6, &edges)?;
/// let found = leiden(&graph, &LeidenParams::default())?;
/// assert_eq!(found, [0, 0, 0, 1, 1, 1]);
/// assert!((graph.modularity(&found, 1.0) - 5.0 / 14.0).abs() < 1e-12);
/// # Ok::<(), cytoself_eval::EvalError>(())
/// ```
pub fn leiden(graph: &Graph, params: &LeidenParams) -> Result<Vec<usize>, EvalError> {
    if !(params.resolution >= 0.0 && params.resolution.is_finite()) {
        let found = params.resolution.to_string();
        return Err(EvalError::Parameter {
            name: "resolution",
            found,
            expected: "0 or more",
        });
    }
    let mut communities: Vec<usize> = (0..graph.nodes()).collect();
    for round in 0..params.rounds {
        let mut stream = Stream::new(params.seed, round as u64);
        let next = run_round(graph, communities.clone(), params.resolution, &mut stream);
        let gain = graph.modularity(&next, params.resolution)
            - graph.modularity(&communities, params.resolution);
        communities = next;
        if round > 0 && gain <= 1e-12 {
            break;
        }
    }
    Ok(by_size(&communities))
}

/// One round: move, refine, aggregate, until moving changes nothing.
fn run_round(graph: &Graph, start: Vec<usize>, resolution: f64, stream: &mut Stream) -> Vec<usize> {
    let mut level = graph.clone();
    // Node of the current level that holds each node of the graph.
    let mut holder: Vec<usize> = (0..graph.nodes()).collect();
    let mut partition = Partition::new(&level, start, resolution);
    loop {
        partition.move_nodes(&level, stream);
        let communities = compact(&partition.community);
        let count = communities.iter().max().map_or(0, |c| c + 1);
        if count == level.nodes() {
            return holder.iter().map(|&node| communities[node]).collect();
        }
        let refined = compact(&refine(&level, &communities, resolution, stream));
        // A refinement that merges nothing would repeat this level for ever.
        let merged = refined.iter().max().map_or(0, |c| c + 1) < level.nodes();
        let groups = if merged { &refined } else { &communities };
        let next = level.aggregate(groups);
        let mut start = vec![0; next.nodes()];
        groups
            .iter()
            .zip(&communities)
            .for_each(|(&group, &community)| start[group] = community);
        holder.iter_mut().for_each(|node| *node = groups[*node]);
        level = next;
        partition = Partition::new(&level, start, resolution);
    }
}

/// Communities of the nodes of one level.
struct Partition {
    community: Vec<usize>,
    /// Sum of the degrees of each community; one place for every node, so that an empty one is always at hand.
    degree: Vec<f64>,
    size: Vec<usize>,
    /// `resolution / 2m`.
    pull: f64,
}

impl Partition {
    fn new(graph: &Graph, community: Vec<usize>, resolution: f64) -> Self {
        let (mut degree, mut size) = (vec![0.0; graph.nodes() + 1], vec![0; graph.nodes() + 1]);
        for (node, &c) in community.iter().enumerate() {
            degree[c] += graph.degree(node);
            size[c] += 1;
        }
        let total = graph.total();
        Self {
            community,
            degree,
            size,
            pull: if total > 0.0 { resolution / total } else { 0.0 },
        }
    }

    fn assign(&mut self, graph: &Graph, node: usize, to: usize) {
        let from = std::mem::replace(&mut self.community[node], to);
        self.degree[from] -= graph.degree(node);
        self.size[from] -= 1;
        self.degree[to] += graph.degree(node);
        self.size[to] += 1;
    }

    /// Moves nodes to the community that gains most, until none wants to move.
    fn move_nodes(&mut self, graph: &Graph, stream: &mut Stream) {
        let mut order: Vec<usize> = (0..graph.nodes()).collect();
        stream.shuffle(&mut order);
        let mut queue: std::collections::VecDeque<usize> = order.into();
        let mut waiting = vec![true; graph.nodes()];
        let mut weights = vec![0.0; graph.nodes() + 1];
        while let Some(node) = queue.pop_front() {
            waiting[node] = false;
            let to = self.best(graph, node, &mut weights);
            if to == self.community[node] {
                continue;
            }
            self.assign(graph, node, to);
            for &(other, _) in graph.neighbours(node) {
                if self.community[other] != to && !std::mem::replace(&mut waiting[other], true) {
                    queue.push_back(other);
                }
            }
        }
    }

    /// The community of the largest gain for `node`; its own where none is better.
    fn best(&self, graph: &Graph, node: usize, weights: &mut [f64]) -> usize {
        let own = self.community[node];
        for &(other, weight) in graph.neighbours(node) {
            weights[self.community[other]] += weight;
        }
        let degree = graph.degree(node);
        let gain = |c: usize| {
            let rest = if c == own {
                self.degree[c] - degree
            } else {
                self.degree[c]
            };
            weights[c] - self.pull * degree * rest
        };
        let (mut best, mut most) = (own, gain(own));
        for &(other, _) in graph.neighbours(node) {
            let c = self.community[other];
            if gain(c) > most + 1e-12 {
                (best, most) = (c, gain(c));
            }
        }
        // Alone is worth 0; a node that only loses where it is leaves.
        if most < -1e-12
            && self.size[own] > 1
            && let Some(empty) = self.size.iter().position(|&s| s == 0)
        {
            best = empty;
        }
        graph
            .neighbours(node)
            .iter()
            .for_each(|&(other, _)| weights[self.community[other]] = 0.0);
        best
    }
}

/// Splits every community into well-connected parts by merging single nodes at random, the better the likelier.
fn refine(
    graph: &Graph,
    communities: &[usize],
    resolution: f64,
    stream: &mut Stream,
) -> Vec<usize> {
    let nodes = graph.nodes();
    let mut parts = Partition::new(graph, (0..nodes).collect(), resolution);
    let mut whole = vec![0.0; nodes + 1];
    (0..nodes).for_each(|node| whole[communities[node]] += graph.degree(node));
    // Weight between a part and the rest of its community.
    let mut outward: Vec<f64> = (0..nodes)
        .map(|node| {
            let inside = graph
                .neighbours(node)
                .iter()
                .filter(|(other, _)| communities[*other] == communities[node]);
            inside.map(|(_, weight)| weight).sum()
        })
        .collect();
    let mut order: Vec<usize> = (0..nodes).collect();
    stream.shuffle(&mut order);
    let mut weights = vec![0.0; nodes];
    for node in order {
        let well_connected = |part: usize, outward: &[f64], parts: &Partition| {
            outward[part]
                >= parts.pull * parts.degree[part] * (whole[communities[node]] - parts.degree[part])
                    - 1e-12
        };
        let own = parts.community[node];
        if parts.size[own] != 1 || !well_connected(own, &outward, &parts) {
            continue;
        }
        let mut choices = Vec::new();
        for &(other, weight) in graph
            .neighbours(node)
            .iter()
            .filter(|(o, _)| communities[*o] == communities[node])
        {
            let part = parts.community[other];
            if weights[part] == 0.0 {
                choices.push(part);
            }
            weights[part] += weight;
        }
        let degree = graph.degree(node);
        let gain = |part: usize| weights[part] - parts.pull * degree * parts.degree[part];
        choices.retain(|&part| gain(part) >= 0.0 && well_connected(part, &outward, &parts));
        if let Some(part) = choose(&choices, gain, stream) {
            // What led from the node to the part is inside now.
            outward[part] += outward[own] - 2.0 * weights[part];
            parts.assign(graph, node, part);
        }
        graph
            .neighbours(node)
            .iter()
            .for_each(|&(other, _)| weights[parts.community[other]] = 0.0);
        weights[own] = 0.0;
    }
    parts.community
}

/// Draws a part with probability proportional to `exp(gain / RANDOMNESS)`, gains relative to the largest.
fn choose(choices: &[usize], gain: impl Fn(usize) -> f64, stream: &mut Stream) -> Option<usize> {
    let most = choices
        .iter()
        .map(|&c| gain(c))
        .fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = choices
        .iter()
        .map(|&c| ((gain(c) - most) / RANDOMNESS).exp())
        .collect();
    let mut at = stream.unit() * shares.iter().sum::<f64>();
    for (&choice, share) in choices.iter().zip(shares) {
        at -= share;
        if at <= 0.0 {
            return Some(choice);
        }
    }
    choices.last().copied()
}

/// The same partition numbered from 0 by first node.
fn compact(communities: &[usize]) -> Vec<usize> {
    let mut names = std::collections::HashMap::new();
    communities
        .iter()
        .map(|c| {
            let next = names.len();
            *names.entry(*c).or_insert(next)
        })
        .collect()
}

fn by_size(communities: &[usize]) -> Vec<usize> {
    let communities = compact(communities);
    let mut sizes = vec![0usize; communities.iter().max().map_or(0, |c| c + 1)];
    communities.iter().for_each(|&c| sizes[c] += 1);
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&c| std::cmp::Reverse(sizes[c]));
    let mut rank = vec![0; sizes.len()];
    order.iter().zip(0..).for_each(|(&c, r)| rank[c] = r);
    communities.into_iter().map(|c| rank[c]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted(groups: usize, size: usize) -> Graph {
        let n = groups * size;
        let mut edges = Vec::new();
        for i in 0..n {
            for j in i + 1..n {
                let chance = if i / size == j / size { 0.4 } else { 0.02 };
                let draw =
                    (crate::random::hash(7, i as u64, j as u64) >> 11) as f64 / (1u64 << 53) as f64;
                if draw < chance {
                    edges.push((i, j, 1.0));
                }
            }
        }
        Graph::new(n, &edges).unwrap()
    }

    #[test]
    fn planted_communities_are_found_by_every_seed() {
        let graph = planted(8, 30);
        let truth: Vec<usize> = (0..240).map(|i| i / 30).collect();
        for seed in 0..5 {
            let found = leiden(
                &graph,
                &LeidenParams {
                    seed,
                    ..Default::default()
                },
            )
            .unwrap();
            assert_eq!(crate::Agreement::of(&found, &truth).unwrap().ari, 1.0);
        }
    }

    #[test]
    fn communities_are_connected() {
        let graph = planted(5, 12);
        let params = LeidenParams {
            resolution: 2.0,
            ..Default::default()
        };
        let found = leiden(&graph, &params).unwrap();
        for community in 0..=*found.iter().max().unwrap() {
            let members: Vec<usize> = (0..60).filter(|&i| found[i] == community).collect();
            let mut reached = vec![members[0]];
            let mut at = 0;
            while at < reached.len() {
                for &(other, _) in graph.neighbours(reached[at]) {
                    if found[other] == community && !reached.contains(&other) {
                        reached.push(other);
                    }
                }
                at += 1;
            }
            assert_eq!(reached.len(), members.len());
        }
    }

    #[test]
    fn resolution_decides_the_number() {
        let graph = planted(6, 20);
        let count = |resolution| {
            let found = leiden(
                &graph,
                &LeidenParams {
                    resolution,
                    ..Default::default()
                },
            )
            .unwrap();
            found.into_iter().max().unwrap() + 1
        };
        assert_eq!(count(0.0), 1);
        assert!(count(1.0) < count(8.0));
        assert!(
            leiden(
                &graph,
                &LeidenParams {
                    resolution: f64::NAN,
                    ..Default::default()
                }
            )
            .is_err()
        );
    }

    #[test]
    fn no_edge_no_community() {
        let graph = Graph::new(3, &[]).unwrap();
        assert_eq!(leiden(&graph, &LeidenParams::default()).unwrap(), [0, 1, 2]);
        assert!(
            leiden(&Graph::new(0, &[]).unwrap(), &LeidenParams::default())
                .unwrap()
                .is_empty()
        );
    }
}
