//! The inner loop: eight edges at a time, one lane each.

use super::edges::Bucket;
use super::force::{Forces, clip};
use crate::rng::mix32;
#[cfg(target_arch = "x86_64")]
use crate::simd::Avx2;
use crate::simd::{LANES, Portable, Simd};

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
                fn avx2<const D: usize>(s: Avx2, $($arg: $type),*) {
                    $body::<Avx2, D>(s, $($arg),*);
                }
                if let Some(s) = Avx2::new() {
                    // SAFETY: the CPU has AVX2, as there is a value of `Avx2`.
                    return unsafe { avx2::<D>(s, $($arg),*) };
                }
            }
            $body::<Portable, D>(Portable, $($arg),*);
        }
    };
}

dispatch!(
    /// The due edges of one bucket; `points` holds its two blocks side by side.
    run_edges, edges_body, points: &mut [[f32; D]], bucket: &Bucket<'_>, step: &Step<'_, D>
);

/// Visits up to the end of an epoch. The products are below 2^24, where f32 counts exactly enough.
#[inline(always)]
fn visits<S: Simd>(s: S, rates: S::F, epochs: usize) -> S::F {
    s.mul(s.splat(epochs as f32), rates)
}

/// One bit per edge: whether it is visited in this epoch.
#[inline(always)]
fn due<S: Simd>(s: S, rates: [f32; LANES], epoch: usize) -> u32 {
    let rates = s.load(rates);
    s.whole_greater(visits(s, rates, epoch + 1), visits(s, rates, epoch))
}

#[inline(always)]
fn edges_body<S: Simd, const D: usize>(
    s: S,
    points: &mut [[f32; D]],
    bucket: &Bucket<'_>,
    step: &Step<'_, D>,
) {
    // One more than can wait: the place after the last is written to as well.
    let mut ready = [0_u32; WINDOW + 2 * LANES];
    let mut waiting = 0;
    for (w, window) in bucket.rates.chunks(WINDOW).enumerate() {
        for (g, group) in window.chunks(LANES).enumerate() {
            let mut rates = [0.0; LANES];
            rates[..group.len()].copy_from_slice(group);
            let due = due(s, rates, step.epoch);
            let first = (w * WINDOW + g * LANES) as u32;
            for l in 0..LANES as u32 {
                ready[waiting] = first + l;
                waiting += (due >> l & 1) as usize;
            }
        }
        let full = waiting - waiting % LANES;
        for batch in ready[..full].chunks_exact(LANES) {
            visit(s, points, bucket, batch, step);
        }
        ready.copy_within(full..waiting, 0);
        waiting -= full;
    }
    if waiting > 0 {
        visit(s, points, bucket, &ready[..waiting], step);
    }
}

/// Difference of two groups of points and its squared length.
#[inline(always)]
fn difference<S: Simd, const D: usize>(s: S, x: &[S::F; D], y: &[S::F; D]) -> ([S::F; D], S::F) {
    let mut delta = *x;
    let mut squared = s.splat(0.0);
    for d in 0..D {
        delta[d] = s.sub(x[d], y[d]);
        squared = s.add(squared, s.mul(delta[d], delta[d]));
    }
    (delta, squared)
}

/// Up to eight edges: attraction moves both ends, then each head is pushed away from its random samples.
#[inline(always)]
fn visit<S: Simd, const D: usize>(
    s: S,
    points: &mut [[f32; D]],
    bucket: &Bucket<'_>,
    batch: &[u32],
    step: &Step<'_, D>,
) {
    // Idle lanes of the last batch repeat its first edge and are not applied.
    let mut numbers = [batch[0]; LANES];
    numbers[..batch.len()].copy_from_slice(batch);
    let ends = numbers.map(|n| bucket.ends[n as usize]);
    let (heads, tails) = (ends.map(|e| e[0]), ends.map(|e| e[1]));
    let (delta, squared) = difference(s, &s.gather(points, heads), &s.gather(points, tails));
    let force = step.forces.attraction(s, squared);
    let rate = s.splat(step.rate);
    let moves = delta.map(|d| s.mul(rate, clip(s, s.mul(force, d))));
    let moves = moves.map(|m| s.store(m));
    for l in 0..batch.len() {
        let (head, tail) = (heads[l] as usize, tails[l] as usize);
        for d in 0..D {
            points[head][d] += moves[d][l];
            points[tail][d] -= moves[d][l];
        }
    }

    let second = heads.map(|h| h >= bucket.split);
    let own = std::array::from_fn(|l| {
        heads[l].wrapping_add(if second[l] {
            bucket.starts[1].wrapping_sub(bucket.split)
        } else {
            bucket.starts[0]
        })
    });
    let numbers = s.add_u32(s.load_u32(numbers), s.splat_u32(bucket.first as u32));
    let keys = mix(s, s.xor(numbers, s.splat_u32(step.key)));
    let moves = repel(s, &s.gather(points, heads), s.load_u32(own), keys, step);
    let moves = moves.map(|m| s.store(m));
    for (l, &head) in heads[..batch.len()].iter().enumerate() {
        for d in 0..D {
            points[head as usize][d] += moves[d][l];
        }
    }
}

/// [`mix32`] on eight lanes.
#[inline(always)]
fn mix<S: Simd>(s: S, x: S::U) -> S::U {
    let x = s.mul_low(s.xor(x, s.shift_right::<16>(x)), s.splat_u32(0x7feb_352d));
    let x = s.mul_low(s.xor(x, s.shift_right::<15>(x)), s.splat_u32(0x846c_a68b));
    s.xor(x, s.shift_right::<16>(x))
}

/// Steps of eight heads away from `negatives` random points each.
#[inline(always)]
fn repel<S: Simd, const D: usize>(
    s: S,
    heads: &[S::F; D],
    own: S::U,
    keys: S::U,
    step: &Step<'_, D>,
) -> [S::F; D] {
    let n = s.splat_u32(step.snapshot.len() as u32);
    let mut sum = [s.splat(0.0); D];
    for sample in 0..step.negatives as u32 {
        let at = s.mul_high(mix(s, s.add_u32(keys, s.splat_u32(sample))), n);
        let (delta, squared) = difference(s, heads, &s.gather(step.snapshot, s.store_u32(at)));
        let force = s.drop(step.forces.repulsion(s, squared), s.equal(at, own));
        for d in 0..D {
            sum[d] = s.add(sum[d], clip(s, s.mul(force, delta[d])));
        }
    }
    sum.map(|v| s.mul(v, s.splat(step.rate)))
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
fn fixed_body<S: Simd, const D: usize>(
    s: S,
    point: &mut [f32; D],
    edges: &Fixed<'_>,
    step: &Step<'_, D>,
) {
    for (i, (&tail, &rate)) in edges.columns.iter().zip(edges.rates).enumerate() {
        if due(s, [rate; LANES], step.epoch) == 0 {
            continue;
        }
        let tails = s.gather(step.snapshot, [tail; LANES]);
        let (delta, squared) = difference(s, &point.map(|v| s.splat(v)), &tails);
        let force = step.forces.attraction(s, squared);
        for d in 0..D {
            point[d] += step.rate * s.store(clip(s, s.mul(force, delta[d])))[0];
        }
        let key = mix32(((edges.first + i) as u32) ^ step.key);
        push_away(s, point, key, step);
    }
}

/// The samples of one head, eight lanes at a time.
#[inline(always)]
fn push_away<S: Simd, const D: usize>(s: S, point: &mut [f32; D], key: u32, step: &Step<'_, D>) {
    let head = point.map(|v| s.splat(v));
    let n = s.splat_u32(step.snapshot.len() as u32);
    for first in (0..step.negatives).step_by(LANES) {
        let keys = std::array::from_fn(|l| key.wrapping_add((first + l) as u32));
        let at = s.mul_high(mix(s, s.load_u32(keys)), n);
        let (delta, squared) = difference(s, &head, &s.gather(step.snapshot, s.store_u32(at)));
        let force = step.forces.repulsion(s, squared);
        let count = LANES.min(step.negatives - first);
        for (p, d) in point.iter_mut().zip(delta) {
            let moves = s.store(clip(s, s.mul(force, d)));
            moves[..count].iter().for_each(|m| *p += step.rate * m);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_mix_as_single_numbers() {
        let x = [0, 1, 2, 0x8000_0000, u32::MAX, 7, 1 << 20, 12345];
        assert_eq!(mix(Portable, x), x.map(mix32));
    }

    #[test]
    fn an_edge_is_visited_in_proportion_to_its_rate() {
        let rates = [0.0, 1.0, 0.5, 0.1, 0.333, 0.999, 0.002, 0.75];
        let mut counts = [0; LANES];
        for epoch in 0..500 {
            let due = due(Portable, rates, epoch);
            (0..LANES).for_each(|l| counts[l] += due >> l & 1);
        }
        for (count, rate) in counts.into_iter().zip(rates) {
            assert!((f64::from(count) - 500.0 * f64::from(rate)).abs() <= 1.0);
        }
    }
}
