//! Random numbers of the simulator: one independent stream per purpose, the same on every machine and thread count.

use std::sync::OnceLock;

/// A xoshiro256++ generator seeded from a seed and the names of a stream.
///
/// # References
/// Blackman and Vigna, ACM Trans. Math. Softw. 47 (2021) 36, <https://doi.org/10.1145/3460772>.
#[derive(Debug, Clone)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator of one stream, e.g. `Rng::new(seed, &[field, STREAM_CAMERA])`.
    #[must_use]
    pub fn new(seed: u64, stream: &[u64]) -> Self {
        let mut key = split_mix(seed);
        for &part in stream {
            key = split_mix(key ^ split_mix(part.wrapping_add(0x632b_e59b_d9b4_e019)));
        }
        let mut state = [0; 4];
        for word in &mut state {
            key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
            *word = split_mix(key);
        }
        Self { state }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in `[low, high)`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Uniform over `0..n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.uniform() < p
    }

    /// Standard normal, by a table of quantiles; values lie within +-3.7.
    pub fn normal(&mut self) -> f32 {
        normal_of_bits(quantiles(), self.bits() as u32)
    }

    /// Log-normal with median 1.
    pub fn log_normal(&mut self, sigma: f32) -> f32 {
        (sigma * self.normal()).exp()
    }

    /// Fills `out` with standard normal values.
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        let table = quantiles();
        for pair in out.chunks_mut(2) {
            let bits = self.bits();
            pair[0] = normal_of_bits(table, bits as u32);
            if let Some(second) = pair.get_mut(1) {
                *second = normal_of_bits(table, (bits >> 32) as u32);
            }
        }
    }

    /// A Poisson count: by inversion below a mean of 6, above it by the Cornish-Fisher expansion of the quantile,
    /// whose mean, variance and skew are those of the distribution.
    pub fn poisson(&mut self, mean: f32) -> f32 {
        if mean < 6.0 {
            return self.poisson_by_inversion(mean);
        }
        let z = self.normal();
        (mean + mean.sqrt() * z + (z * z - 1.0) * (1.0 / 6.0))
            .round()
            .max(0.0)
    }

    fn poisson_by_inversion(&mut self, mean: f32) -> f32 {
        let u = self.uniform();
        let mut probability = (-mean).exp();
        let mut cumulative = probability;
        let mut count = 0.0;
        while u >= cumulative && count < 60.0 {
            count += 1.0;
            probability *= mean / count;
            cumulative += probability;
        }
        count
    }
}

fn split_mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const BINS: usize = 4096;

/// Quantiles of the standard normal at the edges of 4096 equal bins; the two open ends are cut at half a bin.
fn quantiles() -> &'static [f32; BINS + 1] {
    static TABLE: OnceLock<[f32; BINS + 1]> = OnceLock::new();
    TABLE.get_or_init(|| {
        std::array::from_fn(|i| {
            let p = (i as f64).clamp(0.5, BINS as f64 - 0.5) / BINS as f64;
            normal_quantile(p) as f32
        })
    })
}

fn normal_of_bits(table: &[f32; BINS + 1], bits: u32) -> f32 {
    let bin = (bits >> 20) as usize;
    let fraction = (bits & 0xf_ffff) as f32 * (1.0 / 1_048_576.0);
    table[bin] + fraction * (table[bin + 1] - table[bin])
}

/// Quantile of the standard normal by bisection of its distribution function, exact to 1e-9.
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if normal_distribution(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The distribution function by its alternating-free series around 0.
fn normal_distribution(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    let mut odd = 1.0;
    while term.abs() > 1e-17 * sum.abs().max(1e-300) {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / n;
        (mean, variance)
    }

    #[test]
    fn quantiles_are_those_of_the_normal() {
        assert!((normal_quantile(0.975) - 1.959_963_985).abs() < 1e-8);
        assert!((normal_quantile(0.5)).abs() < 1e-9);
    }

    #[test]
    fn normals_have_unit_variance() {
        let mut values = vec![0.0; 200_001];
        Rng::new(1, &[2]).fill_normal(&mut values);
        let (mean, variance) = moments(&values);
        assert!(
            mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02,
            "{mean} {variance}"
        );
    }

    #[test]
    fn counts_are_poisson_on_both_branches() {
        for mean in [0.3, 3.0, 5.9, 6.1, 90.0] {
            let mut rng = Rng::new(7, &[]);
            let values: Vec<f32> = (0..100_000).map(|_| rng.poisson(mean)).collect();
            let (m, v) = moments(&values);
            let expected = f64::from(mean);
            assert!((m / expected - 1.0).abs() < 0.02, "{mean}: {m}");
            assert!((v / expected - 1.0).abs() < 0.04, "{mean}: {v}");
        }
    }

    #[test]
    fn streams_differ_and_repeat() {
        let first = Rng::new(5, &[1]).bits();
        assert_eq!(first, Rng::new(5, &[1]).bits());
        assert_ne!(first, Rng::new(5, &[2]).bits());
        assert_ne!(first, Rng::new(6, &[1]).bits());
        assert_ne!(Rng::new(5, &[1, 0]).bits(), first);
    }
}
