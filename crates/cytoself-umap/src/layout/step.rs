//! The inner loop: eight edges at a time, one lane each.

use super::edges::{Bucket, Edge};
use super::force::{Forces, clip};
use crate::math::{LANES, Lane};
use crate::rng::mix32;

/// Edges looked through at once for those that are due.
const WINDOW: usize = 512;

/// One epoch.
pub(crate) struct Step<'a, const D: usize> {
    pub(crate) forces: Forces,
    pub(crate) rate: f32,
    pub(crate) negatives: usize,
    pub(crate) epoch: usize,
    pub(crate) key: u32,
    /// All points at the start of the epoch: repulsion reads here.
    pub(crate) snapshot: &'a [[f32; D]],
}

/// Defines `$name` as a run-time choice between two builds of `$body`; both give the same bits.
macro_rules! dispatch {
    ($(#[$doc:meta])* $name:ident, $body:ident, $($arg:ident: $type:ty),*) => {
        $(#[$doc])*
        pub(crate) fn $name<const D: usize>($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2<const D: usize>($($arg: $type),*) {
                    $body::<D>($($arg),*);
                }
                if std::is_x86_feature_detected!("avx2") {
                    // SAFETY: the CPU has AVX2, tested on the line above.
                    return unsafe { avx2::<D>($($arg),*) };
                }
            }
            $body::<D>($($arg),*);
        }
    };
}

dispatch!(
    /// The due edges of one bucket; `points` holds its two blocks side by side.
    run_edges, edges_body, points: &mut [[f32; D]], bucket: &Bucket<'_>, step: &Step<'_, D>
);

/// Whether an edge with `rate` visits per epoch is visited in this epoch.
#[inline(always)]
fn due(rate: f32, epoch: usize) -> bool {
    // Both products are below 2^24, where f32 counts exactly enough.
    (((epoch + 1) as f32 * rate) as u32) > ((epoch as f32 * rate) as u32)
}

#[inline(always)]
fn edges_body<const D: usize>(points: &mut [[f32; D]], bucket: &Bucket<'_>, step: &Step<'_, D>) {
    let mut ready = [0_u32; WINDOW + LANES];
    let mut waiting = 0;
    for (w, window) in bucket.edges.chunks(WINDOW).enumerate() {
        for (i, edge) in window.iter().enumerate() {
            ready[waiting] = (w * WINDOW + i) as u32;
            waiting += usize::from(due(edge.rate, step.epoch));
        }
        let full = waiting - waiting % LANES;
        for batch in ready[..full].chunks_exact(LANES) {
            visit(points, bucket, batch, step);
        }
        ready.copy_within(full..waiting, 0);
        waiting -= full;
    }
    if waiting > 0 {
        visit(points, bucket, &ready[..waiting], step);
    }
}

/// Difference of two groups of points and its squared length.
#[inline(always)]
fn difference<const D: usize>(x: &[Lane; D], y: &[Lane; D]) -> ([Lane; D], Lane) {
    let (mut delta, mut squared) = ([[0.0; LANES]; D], [0.0; LANES]);
    for d in 0..D {
        for l in 0..LANES {
            delta[d][l] = x[d][l] - y[d][l];
            squared[l] += delta[d][l] * delta[d][l];
        }
    }
    (delta, squared)
}

#[inline(always)]
fn gather<const D: usize>(points: &[[f32; D]], at: [u32; LANES]) -> [Lane; D] {
    let mut out = [[0.0; LANES]; D];
    for l in 0..LANES {
        let point = points[at[l] as usize];
        for d in 0..D {
            out[d][l] = point[d];
        }
    }
    out
}

/// Up to eight edges: attraction moves both ends, then each head is pushed away from its random samples.
#[inline(always)]
fn visit<const D: usize>(
    points: &mut [[f32; D]],
    bucket: &Bucket<'_>,
    batch: &[u32],
    step: &Step<'_, D>,
) {
    let (mut heads, mut tails, mut keys) = ([0_u32; LANES], [0_u32; LANES], [0_u32; LANES]);
    for l in 0..LANES {
        // Idle lanes of the last batch repeat its first edge and are not applied.
        let number = if l < batch.len() { batch[l] } else { batch[0] };
        let Edge { head, tail, .. } = bucket.edges[number as usize];
        (heads[l], tails[l]) = (head, tail);
        keys[l] = (bucket.first as u32).wrapping_add(number);
    }
    let (delta, squared) = difference(&gather(points, heads), &gather(points, tails));
    let force = step.forces.attraction(squared);
    let mut moves = [[0.0; LANES]; D];
    for d in 0..D {
        for l in 0..LANES {
            moves[d][l] = step.rate * clip(force[l] * delta[d][l]);
        }
    }
    for l in 0..batch.len() {
        for d in 0..D {
            points[heads[l] as usize][d] += moves[d][l];
            points[tails[l] as usize][d] -= moves[d][l];
        }
    }

    let mut own = [0_u32; LANES];
    for l in 0..LANES {
        let second = heads[l] >= bucket.split;
        own[l] = heads[l].wrapping_add(if second {
            bucket.starts[1].wrapping_sub(bucket.split)
        } else {
            bucket.starts[0]
        });
        keys[l] = mix32(keys[l] ^ step.key);
    }
    let moves = repel(&gather(points, heads), own, keys, step);
    for l in 0..batch.len() {
        for d in 0..D {
            points[heads[l] as usize][d] += moves[d][l];
        }
    }
}

/// Steps of eight heads away from `negatives` random points each.
#[inline(always)]
fn repel<const D: usize>(
    heads: &[Lane; D],
    own: [u32; LANES],
    keys: [u32; LANES],
    step: &Step<'_, D>,
) -> [Lane; D] {
    let n = step.snapshot.len() as u64;
    let mut sum = [[0.0; LANES]; D];
    for s in 0..step.negatives as u32 {
        let mut at = [0_u32; LANES];
        for l in 0..LANES {
            at[l] = ((u64::from(mix32(keys[l].wrapping_add(s))) * n) >> 32) as u32;
        }
        let (delta, squared) = difference(heads, &gather(step.snapshot, at));
        let force = step.forces.repulsion(squared);
        for l in 0..LANES {
            let force = if at[l] == own[l] { 0.0 } else { force[l] };
            for d in 0..D {
                sum[d][l] += clip(force * delta[d][l]);
            }
        }
    }
    for lane in sum.iter_mut().flatten() {
        *lane *= step.rate;
    }
    sum
}

/// One new point with its edges to points that stay where they are.
pub(crate) struct Fixed<'a> {
    pub(crate) columns: &'a [u32],
    /// Visits per epoch of each edge.
    pub(crate) rates: &'a [f32],
    /// Number of the first edge among all edges.
    pub(crate) first: usize,
}

dispatch!(
    /// One epoch of one new point; `step.snapshot` holds the fixed points.
    run_fixed, fixed_body, point: &mut [f32; D], edges: &Fixed<'_>, step: &Step<'_, D>
);

#[inline(always)]
fn fixed_body<const D: usize>(point: &mut [f32; D], edges: &Fixed<'_>, step: &Step<'_, D>) {
    for (i, (&tail, &rate)) in edges.columns.iter().zip(edges.rates).enumerate() {
        if !due(rate, step.epoch) {
            continue;
        }
        let (delta, squared) = difference(&spread(point), &gather(step.snapshot, [tail; LANES]));
        let force = step.forces.attraction(squared);
        for d in 0..D {
            point[d] += step.rate * clip(force[0] * delta[d][0]);
        }
        let key = mix32(((edges.first + i) as u32) ^ step.key);
        push_away(point, key, step);
    }
}

#[inline(always)]
fn spread<const D: usize>(point: &[f32; D]) -> [Lane; D] {
    point.map(|v| [v; LANES])
}

/// The samples of one head, eight lanes at a time.
#[inline(always)]
fn push_away<const D: usize>(point: &mut [f32; D], key: u32, step: &Step<'_, D>) {
    let n = step.snapshot.len() as u64;
    let head = spread(point);
    for first in (0..step.negatives).step_by(LANES) {
        let mut at = [0_u32; LANES];
        for (l, at) in at.iter_mut().enumerate() {
            *at = ((u64::from(mix32(key.wrapping_add((first + l) as u32))) * n) >> 32) as u32;
        }
        let (delta, squared) = difference(&head, &gather(step.snapshot, at));
        let force = step.forces.repulsion(squared);
        for l in 0..LANES.min(step.negatives - first) {
            for d in 0..D {
                point[d] += step.rate * clip(force[l] * delta[d][l]);
            }
        }
    }
}
