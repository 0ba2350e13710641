//! The edges of the graph, sorted into pairs of vertex blocks.

use rayon::prelude::*;

use crate::fuzzy::FuzzyGraph;
use crate::rng::Stream;

/// All edges, bucket by bucket.
pub(crate) struct Edges {
    pub(crate) blocks: usize,
    /// Vertices per block.
    pub(crate) block: usize,
    ends: Vec<[u32; 2]>,
    rates: Vec<f32>,
    offsets: Vec<usize>,
}

/// The directed edges between two blocks.
pub(crate) struct Bucket<'a> {
    /// Head and tail of each edge, counted through the two blocks laid side by side.
    pub(crate) ends: &'a [[u32; 2]],
    /// Weights as shares of the largest weight: how many visits per epoch.
    pub(crate) rates: &'a [f32],
    /// Number of the first edge among all edges.
    pub(crate) first: usize,
    /// First vertex of either block, and how many vertices the first block has.
    pub(crate) starts: [u32; 2],
    pub(crate) split: u32,
}

/// Number of blocks: fixed by the number of points, never by the number of threads.
fn block_count(n: usize) -> usize {
    match n {
        0..512 => 2,
        512..4096 => 8,
        4096..65_536 => 16,
        65_536..524_288 => 32,
        _ => 64,
    }
}

impl Edges {
    /// Leaves out the edges that would be visited less than once.
    pub(crate) fn new(graph: &FuzzyGraph, epochs: usize, stream: Stream) -> Self {
        let n = graph.len();
        let blocks = block_count(n).min(n.max(1));
        let block = n.div_ceil(blocks).max(1);
        let blocks = n.div_ceil(block).max(1);
        let largest = graph.weights.iter().copied().fold(0.0, f32::max);
        let least = 1.0 / epochs.max(1) as f32;
        let rate = |w: f32| {
            if w / largest < least {
                None
            } else {
                Some(w / largest)
            }
        };
        let bucket =
            |i: usize, j: usize| (i / block).min(j / block) * blocks + (i / block).max(j / block);

        let mut offsets = vec![0_usize; blocks * blocks + 1];
        for_each_edge(graph, |i, j, w| {
            offsets[bucket(i, j) + 1] += usize::from(rate(w).is_some())
        });
        for i in 1..offsets.len() {
            offsets[i] += offsets[i - 1];
        }
        let mut next = offsets.clone();
        let count = offsets.last().copied().unwrap_or(0);
        let (mut ends, mut rates) = (vec![[0; 2]; count], vec![0.0; count]);
        for_each_edge(graph, |i, j, w| {
            if let Some(rate) = rate(w) {
                let (low, high) = ((i / block).min(j / block), (i / block).max(j / block));
                let local = |v: usize| {
                    if v / block == low {
                        v - low * block
                    } else {
                        block + v - high * block
                    }
                };
                let at = &mut next[bucket(i, j)];
                ends[*at] = [local(i) as u32, local(j) as u32];
                rates[*at] = rate;
                *at += 1;
            }
        });
        let mut out = Self {
            blocks,
            block,
            ends,
            rates,
            offsets,
        };
        // The same permutation of both.
        shuffle(&mut out.ends, &out.offsets, stream);
        shuffle(&mut out.rates, &out.offsets, stream);
        out
    }

    /// The edges between blocks a <= b.
    pub(crate) fn bucket(&self, a: usize, b: usize) -> Bucket<'_> {
        let at = a * self.blocks + b;
        let (first, end) = (self.offsets[at], self.offsets[at + 1]);
        let starts = [a, b].map(|x| (x * self.block) as u32);
        // Only the last block is shorter, and it is never the first of a pair with another.
        Bucket {
            ends: &self.ends[first..end],
            rates: &self.rates[first..end],
            first,
            starts,
            split: self.block as u32,
        }
    }
}

/// A fixed random order within each bucket.
fn shuffle<T: Send>(items: &mut [T], offsets: &[usize], stream: Stream) {
    let mut rest = items;
    let mut buckets = Vec::with_capacity(offsets.len());
    for w in offsets.windows(2) {
        let (head, tail) = rest.split_at_mut(w[1] - w[0]);
        buckets.push(head);
        rest = tail;
    }
    buckets
        .into_par_iter()
        .enumerate()
        .for_each(|(b, bucket)| stream.fork(b as u64).shuffle(bucket));
}

fn for_each_edge(graph: &FuzzyGraph, mut visit: impl FnMut(usize, usize, f32)) {
    for i in 0..graph.len() {
        let (columns, weights) = graph.row(i);
        for (&j, &w) in columns.iter().zip(weights) {
            visit(i, j as usize, w);
        }
    }
}
