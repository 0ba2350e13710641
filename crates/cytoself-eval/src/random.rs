/// A counter-based generator: number `counter` of stream (`seed`, `stream`), without state.
///
/// Two rounds of the SplitMix64 finaliser over the three words; good enough for resampling and the same everywhere.
pub(crate) fn hash(seed: u64, stream: u64, counter: u64) -> u64 {
    let key = mix(seed ^ mix(stream.wrapping_add(0x9e37_79b9_7f4a_7c15)));
    mix(key
        ^ mix(counter
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(0xd1b5_4a32_d192_ed03)))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Numbers of one stream in turn.
pub(crate) struct Stream {
    seed: u64,
    stream: u64,
    counter: u64,
}

impl Stream {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self {
            seed,
            stream,
            counter: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        hash(self.seed, self.stream, self.counter)
    }

    /// A whole number below `bound`; the bias of the multiplication is below `bound / 2^64`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Fisher-Yates.
    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_a_bound_are_even() {
        let mut stream = Stream::new(1, 2);
        let mut counts = [0i32; 7];
        (0..70_000).for_each(|_| counts[stream.below(7)] += 1);
        // Five standard deviations of a binomial count.
        assert!(
            counts.iter().all(|c| (c - 10_000).abs() < 470),
            "{counts:?}"
        );
    }

    #[test]
    fn a_shuffle_keeps_everything() {
        let mut values: Vec<usize> = (0..50).collect();
        Stream::new(3, 0).shuffle(&mut values);
        assert_ne!(values, (0..50).collect::<Vec<_>>());
        values.sort_unstable();
        assert!(values.into_iter().eq(0..50));
    }
}
