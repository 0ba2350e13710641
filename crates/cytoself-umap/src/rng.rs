//! Random numbers that depend on a key and a counter only, so that the order of work never matters.

/// Finaliser of SplitMix64 (Steele et al. 2014, doi:10.1145/2660193.2660195).
#[inline(always)]
pub(crate) fn mix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A bijective 32-bit mixer (the constants of H. Mueller's "prospector" search); vectorises on AVX2.
#[inline(always)]
pub(crate) fn mix32(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// What a stream of random numbers is for; two purposes never share numbers.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum Purpose {
    Audit = 1,
    Spectral,
    Noise,
    RandomInit,
    Layout,
    Trees,
    Descent,
    Sketch,
    Transform,
}

/// A counter-based stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream(u64);

impl Stream {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        Self(mix64(seed ^ mix64(purpose as u64)))
    }

    /// An independent stream, e.g. per iteration or per vertex.
    pub(crate) fn fork(self, label: u64) -> Self {
        Self(mix64(self.0 ^ mix64(label.wrapping_add(0x5851_f42d))))
    }

    pub(crate) fn at(self, counter: u64) -> u64 {
        mix64(self.0 ^ counter.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Uniform on [0, 1).
    pub(crate) fn uniform(self, counter: u64) -> f64 {
        (self.at(counter) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform on 0..n; n > 0.
    pub(crate) fn below(self, counter: u64, n: usize) -> usize {
        ((u128::from(self.at(counter)) * n as u128) >> 64) as usize
    }

    /// Nearly standard normal: the sum of eight 16-bit uniforms, no libm needed.
    pub(crate) fn normal(self, counter: u64) -> f32 {
        let (a, b) = (self.at(2 * counter), self.at(2 * counter + 1));
        let mut sum = 0.0_f32;
        for shift in [0, 16, 32, 48] {
            sum += ((a >> shift) & 0xffff) as f32 + ((b >> shift) & 0xffff) as f32;
        }
        // Variance of one uniform on 0..65536 is 65536^2 / 12.
        (sum - 8.0 * 32767.5) / (65536.0 * 0.816_496_6)
    }

    /// `count` distinct numbers of 0..n in increasing order (Floyd's algorithm); all of them when `count >= n`.
    pub(crate) fn sample(self, count: usize, n: usize) -> Vec<usize> {
        if count >= n {
            return (0..n).collect();
        }
        let mut chosen = std::collections::BTreeSet::new();
        for j in n - count..n {
            let t = self.below(j as u64, j + 1);
            if !chosen.insert(t) {
                chosen.insert(j);
            }
        }
        chosen.into_iter().collect()
    }

    /// Fisher-Yates.
    pub(crate) fn shuffle<T>(self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64, i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_has_unit_variance() {
        let s = Stream::new(1, Purpose::Noise);
        let x: Vec<f64> = (0..100_000).map(|i| f64::from(s.normal(i))).collect();
        let mean = x.iter().sum::<f64>() / 1e5;
        let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 1e5;
        assert!(
            mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02,
            "{mean} {variance}"
        );
    }

    #[test]
    fn a_sample_is_distinct_and_sorted() {
        let s = Stream::new(1, Purpose::Audit).sample(100, 1000);
        assert_eq!(s.len(), 100);
        assert!(s.windows(2).all(|w| w[0] < w[1]) && s[99] < 1000);
        assert_eq!(
            Stream::new(1, Purpose::Audit).sample(9, 4),
            vec![0, 1, 2, 3]
        );
    }
}
