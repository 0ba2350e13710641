//! Random numbers that depend on nothing but a seed and the place where they are used.
//!
//! Every use derives its own stream from the seed and a few numbers that name the place (epoch, crop, tensor), so a
//! resumed run draws what an uninterrupted one would have drawn, and no order of threads can change a draw.

/// The stream of one place.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    state: u64,
}

/// What a stream is used for; keeps the streams of different uses apart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    Initialise = 1,
    Shuffle = 2,
    Augment = 3,
    Variance = 4,
    DeadCodes = 5,
    Partner = 6,
}

impl Stream {
    /// The stream of `purpose` at `place`.
    pub(crate) fn new(seed: u64, purpose: Use, place: &[u64]) -> Self {
        let mut state = mix(seed ^ 0x6379_746f_7365_6c66);
        for &part in [purpose as u64].iter().chain(place) {
            state = mix(state ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        Self { state }
    }

    /// The next 64 random bits (SplitMix64, doi:10.1145/2714064.2660195).
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0..n, without the bias of a plain remainder for the sizes used here (n far below 2^32).
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Box-Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Fisher-Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number that names a tensor (FNV-1a of its name).
pub(crate) fn name_key(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_independence_of_places() {
        let mut s = Stream::new(42, Use::Initialise, &[7]);
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|_| s.normal()).collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.04, "{variance}");
        assert_ne!(
            Stream::new(42, Use::Initialise, &[8]).bits(),
            Stream::new(42, Use::Initialise, &[7]).bits()
        );
        assert_ne!(
            Stream::new(42, Use::Shuffle, &[7]).bits(),
            Stream::new(42, Use::Initialise, &[7]).bits()
        );
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_repeats() {
        let shuffled = |seed| {
            let mut v: Vec<usize> = (0..100).collect();
            Stream::new(seed, Use::Shuffle, &[1]).shuffle(&mut v);
            v
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let mut sorted = shuffled(3);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100));
    }
}
