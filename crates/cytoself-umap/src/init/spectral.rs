//! Spectral positions: the smoothest vectors on the graph.
//!
//! Subspace iteration with a Chebyshev filter (Zhou, Saad 2007, doi:10.1137/050630404): a small block of vectors is
//! filtered by a polynomial that keeps the wanted end of the spectrum, orthonormalised and rotated to Ritz vectors, at
//! most [`filter::ROUNDS`] times. It has a bound on its work and no random failure, unlike a restarted Lanczos run without one.

mod filter;

use ndarray::Array2;
use rayon::prelude::*;

use self::filter::{Filter, TOLERANCE};
use super::Distance;
use super::components::{Components, subgraph};
use super::meta;
use crate::fuzzy::FuzzyGraph;
use crate::linalg::symmetric_eigen;
use crate::rng::{Purpose, Stream};

/// Components up to this size are solved densely.
const DENSE: usize = 32;
/// Rows of one partial sum; fixed, so that sums do not depend on the threads.
const CHUNK: usize = 2048;

/// Positions with how they were found.
pub(crate) struct Spectral {
    pub(crate) positions: Array2<f32>,
    pub(crate) residual: f64,
    pub(crate) products: usize,
    pub(crate) note: Option<String>,
}

/// One component's vectors.
struct Solved {
    vectors: Vec<Vec<f64>>,
    residual: f64,
    products: usize,
}

/// Positions of every vertex; `Err` names the reason why there are none.
pub(crate) fn spectral(
    graph: &FuzzyGraph,
    components: &Components,
    dimensions: usize,
    seed: u64,
    distance: Distance<'_>,
) -> Result<Spectral, String> {
    let stream = Stream::new(seed, Purpose::Spectral);
    // Largest first: the landmarks of `meta` are then the large ones.
    let mut groups: Vec<&Vec<u32>> = components.groups.iter().collect();
    groups.sort_by_key(|g| (usize::MAX - g.len(), g[0]));
    let alone = groups.len() == 1;
    let placed = match alone {
        true => vec![vec![0.0; dimensions]],
        false => meta::positions(
            &groups.iter().map(|g| centre(graph, g)).collect::<Vec<_>>(),
            dimensions,
            seed,
            distance,
        ),
    };
    let radii: Vec<f64> = (0..placed.len())
        .into_par_iter()
        .map(|c| radius(&placed, c))
        .collect();
    let solved: Vec<Result<Solved, String>> = groups
        .par_iter()
        .enumerate()
        .map(|(c, members)| component(graph, members, dimensions, stream.fork(c as u64 + 10)))
        .collect();

    let mut out = Spectral {
        positions: Array2::zeros((graph.len(), dimensions)),
        residual: 0.0,
        products: 0,
        note: None,
    };
    for (c, (members, solved)) in groups.iter().zip(solved).enumerate() {
        let solved = match solved {
            Err(reason) if alone => return Err(reason),
            Err(reason) => {
                out.note = Some(format!("component {c} placed at random: {reason}"));
                scattered(members.len(), dimensions, stream.fork(c as u64))
            }
            Ok(solved) => solved,
        };
        out.residual = out.residual.max(solved.residual);
        out.products = out.products.max(solved.products);
        let largest = solved
            .vectors
            .iter()
            .flatten()
            .fold(1e-300_f64, |m, v| m.max(v.abs()));
        for (at, &i) in members.iter().enumerate() {
            for (d, (own, base)) in solved.vectors[at].iter().zip(&placed[c]).enumerate() {
                out.positions[[i as usize, d]] = (base + own / largest * radii[c]) as f32;
            }
        }
    }
    if out.residual > TOLERANCE {
        out.note.get_or_insert(format!(
            "stopped at the cap with residual {:.1e}",
            out.residual
        ));
    }
    Ok(out)
}

/// The vertex that stands for a component: the one with the largest degree.
fn centre(graph: &FuzzyGraph, members: &[u32]) -> u32 {
    let degree = |i: u32| graph.row(i as usize).1.iter().sum::<f32>();
    members
        .iter()
        .copied()
        .max_by(|&a, &b| degree(a).total_cmp(&degree(b)).then(b.cmp(&a)))
        .unwrap_or(0)
}

/// Half the distance to the nearest other component, at least a hundredth of the picture.
fn radius(placed: &[Vec<f64>], c: usize) -> f64 {
    if placed.len() == 1 {
        return 1.0;
    }
    let square = |o: &Vec<f64>| {
        o.iter()
            .zip(&placed[c])
            .map(|(a, b)| (a - b) * (a - b))
            .sum::<f64>()
    };
    let nearest = placed
        .iter()
        .enumerate()
        .filter(|(o, _)| *o != c)
        .map(|(_, o)| square(o))
        .fold(f64::INFINITY, f64::min);
    (nearest.sqrt() / 2.0).max(0.01)
}

fn scattered(n: usize, dimensions: usize, stream: Stream) -> Solved {
    let at = |i: usize, d: usize| stream.uniform((i * dimensions + d) as u64) * 2.0 - 1.0;
    let vectors = (0..n)
        .map(|i| (0..dimensions).map(|d| at(i, d)).collect())
        .collect();
    Solved {
        vectors,
        residual: 0.0,
        products: 0,
    }
}

fn component(
    graph: &FuzzyGraph,
    members: &[u32],
    dimensions: usize,
    stream: Stream,
) -> Result<Solved, String> {
    let n = members.len();
    if n < 2 * dimensions || n <= dimensions + 1 {
        return Ok(scattered(n, dimensions, stream));
    }
    let operator = Operator::new(subgraph(graph, members));
    if n <= DENSE.max(2 * dimensions + 8) {
        return Ok(dense(&operator, dimensions));
    }
    macro_rules! with_width {
        ($($b:literal)*) => {
            match [$($b),*].into_iter().find(|b| dimensions + 3 <= *b && *b <= n) {
                $(Some($b) => Filter::<$b>::new(&operator, stream).solve(dimensions),)*
                _ => Err(format!("no eigensolver for {dimensions} dimensions")),
            }
        };
    }
    with_width!(8 40)
}

/// D^-1/2 A D^-1/2: its largest eigenvalues are the smallest of the normalised Laplacian.
struct Operator {
    graph: FuzzyGraph,
    /// Roots of the degrees: the eigenvector of eigenvalue 1.
    roots: Vec<f64>,
}

impl Operator {
    fn new(mut graph: FuzzyGraph) -> Self {
        let degree = |i: usize| graph.row(i).1.iter().map(|w| f64::from(*w)).sum::<f64>();
        let roots: Vec<f64> = (0..graph.len()).map(|i| degree(i).sqrt()).collect();
        let mut at = 0;
        for i in 0..graph.len() {
            let end = graph.offsets[i + 1];
            while at < end {
                let j = graph.columns[at] as usize;
                graph.weights[at] = (f64::from(graph.weights[at]) / (roots[i] * roots[j])) as f32;
                at += 1;
            }
        }
        Self { graph, roots }
    }

    /// `out = alpha * (M x) + beta * x + gamma * before`, a block of B vectors at once.
    fn apply<const B: usize>(
        &self,
        x: &[[f32; B]],
        before: &[[f32; B]],
        scale: [f32; 3],
        out: &mut [[f32; B]],
    ) {
        let [alpha, beta, gamma] = scale;
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(c, rows)| {
            for (r, out) in rows.iter_mut().enumerate() {
                let i = c * CHUNK + r;
                let (columns, weights) = self.graph.row(i);
                let mut sum = [0.0_f32; B];
                for (&j, &w) in columns.iter().zip(weights) {
                    let other = &x[j as usize];
                    for b in 0..B {
                        sum[b] += w * other[b];
                    }
                }
                for b in 0..B {
                    out[b] = alpha * sum[b] + beta * x[i][b] + gamma * before[i][b];
                }
            }
        });
    }
}

fn dense(operator: &Operator, dimensions: usize) -> Solved {
    let n = operator.graph.len();
    let mut matrix = vec![0.0; n * n];
    for i in 0..n {
        let (columns, weights) = operator.graph.row(i);
        columns
            .iter()
            .zip(weights)
            .for_each(|(&j, &w)| matrix[i * n + j as usize] = f64::from(w));
    }
    let (_, vectors) = symmetric_eigen(matrix, n);
    let mut rows: Vec<Vec<f64>> = (0..n)
        .map(|i| vectors[i * n + 1..i * n + 1 + dimensions].to_vec())
        .collect();
    fix_signs(&mut rows);
    Solved {
        vectors: rows,
        residual: 0.0,
        products: 0,
    }
}

/// An eigenvector has no sign: its largest entry becomes positive.
fn fix_signs(rows: &mut [Vec<f64>]) {
    for d in 0..rows.first().map_or(0, Vec::len) {
        let extreme = rows
            .iter()
            .map(|r| r[d])
            .fold(0.0_f64, |m, v| if v.abs() > m.abs() { v } else { m });
        if extreme < 0.0 {
            rows.iter_mut().for_each(|r| r[d] = -r[d]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::components::components;

    fn ring(n: u32) -> FuzzyGraph {
        FuzzyGraph::from_rows((0..n).map(|i| {
            let mut columns = vec![(i + 1) % n, (i + n - 1) % n];
            columns.sort_unstable();
            (columns, vec![0.5, 0.5])
        }))
    }

    #[test]
    fn a_ring_becomes_a_circle() {
        for n in [24, 200] {
            let graph = ring(n);
            let found = spectral(&graph, &components(&graph), 2, 7, None).unwrap();
            // The vectors of a ring are cosine and sine of the angle, up to a rotation.
            let radius = |i: usize| found.positions[[i, 0]].hypot(found.positions[[i, 1]]);
            let mean = (0..n as usize).map(radius).sum::<f32>() / n as f32;
            assert!(
                (0..n as usize).all(|i| (radius(i) / mean - 1.0).abs() < 0.02),
                "{n}: {}",
                found.residual
            );
            assert!(found.residual <= TOLERANCE);
        }
    }

    #[test]
    fn both_solvers_agree() {
        // A path has simple eigenvalues, so the vectors are comparable.
        let n = 100_u32;
        let graph = FuzzyGraph::from_rows((0..n).map(|i| {
            let columns: Vec<u32> = [i.wrapping_sub(1), i + 1]
                .into_iter()
                .filter(|&j| j < n)
                .collect();
            let weights = vec![1.0; columns.len()];
            (columns, weights)
        }));
        let operator = Operator::new(graph);
        let exact = dense(&operator, 2);
        let found = Filter::<8>::new(&operator, Stream::new(1, Purpose::Spectral))
            .solve(2)
            .unwrap();
        for d in 0..2 {
            let dot: f64 = exact
                .vectors
                .iter()
                .zip(&found.vectors)
                .map(|(a, b)| a[d] * b[d])
                .sum();
            assert!(dot.abs() > 0.9999, "{d}: {dot}");
        }
    }
}
