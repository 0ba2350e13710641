//! Random partition trees: first guesses at who is near whom.

use crate::rng::Stream;
use crate::source::Space;

/// Tries for a split that leaves at least a tenth on either side.
const TRIES: u64 = 3;

/// The leaves of one tree: groups of at most `leaf` points.
///
/// A node is split by which of two of its points is nearer, which needs no coordinates and so works for every metric and
/// for codes (for Euclidean points it is the hyperplane between the two: Dasgupta, Freund 2008,
/// doi:10.1145/1374376.1374452).
pub(crate) fn leaves<S: Space>(space: &S, leaf: usize, stream: Stream) -> Vec<Vec<u32>> {
    split(space, (0..space.len() as u32).collect(), leaf, stream, 0)
}

fn split<S: Space>(
    space: &S,
    members: Vec<u32>,
    leaf: usize,
    stream: Stream,
    depth: usize,
) -> Vec<Vec<u32>> {
    if members.len() <= leaf {
        return vec![members];
    }
    let (left, right) = halves(space, members, stream, depth);
    let (mut a, b) = rayon::join(
        || split(space, left, leaf, stream.fork(1), depth + 1),
        || split(space, right, leaf, stream.fork(2), depth + 1),
    );
    a.extend(b);
    a
}

fn halves<S: Space>(
    space: &S,
    members: Vec<u32>,
    stream: Stream,
    depth: usize,
) -> (Vec<u32>, Vec<u32>) {
    let n = members.len();
    // Deep trees come from data with many equal points: these are cut in the middle.
    let tries = if depth < 64 { TRIES } else { 0 };
    for t in 0..tries {
        let a = stream.below(2 * t, n);
        let b = (a + 1 + stream.below(2 * t + 1, n - 1)) % n;
        let (a, b) = (members[a] as usize, members[b] as usize);
        let (left, right): (Vec<u32>, Vec<u32>) = members
            .iter()
            .copied()
            .partition(|&i| space.rank(i as usize, a) < space.rank(i as usize, b));
        if left.len().min(right.len()) >= n / 10 {
            return (left, right);
        }
    }
    let mut left = members;
    let right = left.split_off(n / 2);
    (left, right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Metric;
    use crate::rng::Purpose;
    use crate::source::{DenseSpace, PointSource};
    use ndarray::Array2;

    #[test]
    fn leaves_are_a_partition_even_of_equal_points() {
        for x in [
            Array2::from_shape_fn((500, 2), |(i, j)| ((i * (j + 2)) % 97) as f32),
            Array2::zeros((500, 2)),
        ] {
            let source = PointSource::dense(x.view()).unwrap();
            let PointSource::Dense(points) = &source else {
                unreachable!()
            };
            let space = DenseSpace::new(points, Metric::Euclidean);
            let groups = leaves(&space, 30, Stream::new(1, Purpose::Trees));
            assert!(groups.iter().all(|g| g.len() <= 30));
            let mut all: Vec<u32> = groups.concat();
            all.sort_unstable();
            assert_eq!(all, (0..500).collect::<Vec<u32>>());
        }
    }
}
