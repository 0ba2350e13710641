//! Random numbers by counting: any value of a stream is computed from its index, so order and threads do not matter.

/// A stream of random values, named by a seed, a stream (which layer) and a step (which batch).
///
/// # References
/// Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", DOI 10.1145/2063384.2063405.
///
/// # Example
/// ```
/// use cytoself_model::ops::RngKey;
/// let key = RngKey { seed: 42, stream: 1, step: 0 };
/// assert_eq!(key.uniform(7), key.uniform(7));
/// assert!((0.0..1.0).contains(&key.uniform(7)));
/// assert_ne!(key.uniform(7), RngKey { step: 1, ..key }.uniform(7));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RngKey {
    /// The seed of the run.
    pub seed: u64,
    /// The consumer: one number per layer or purpose.
    pub stream: u64,
    /// The batch or draw.
    pub step: u64,
}

/// One round's multipliers and the key's increments (Salmon et al., table 2 and section 3.3).
const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Philox4x32 with ten rounds.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (p0, p1) = (
            MULTIPLIERS[0] * u64::from(counter[0]),
            MULTIPLIERS[1] * u64::from(counter[2]),
        );
        counter = [
            (p1 >> 32) as u32 ^ counter[1] ^ key[0],
            p1 as u32,
            (p0 >> 32) as u32 ^ counter[3] ^ key[1],
            p0 as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// A bijection of u64 that spreads close numbers apart (Steele et al. 2014, SplitMix64, DOI 10.1145/2660193.2660195).
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl RngKey {
    /// The four random words of block `block`.
    pub fn words(&self, block: u64) -> [u32; 4] {
        let key = mix(self.seed ^ mix(self.stream.wrapping_add(0x9E37_79B9_7F4A_7C15)));
        philox(
            [
                block as u32,
                (block >> 32) as u32,
                self.step as u32,
                (self.step >> 32) as u32,
            ],
            [key as u32, (key >> 32) as u32],
        )
    }

    /// The word at `index`.
    pub fn word(&self, index: u64) -> u32 {
        self.words(index / 4)[(index % 4) as usize]
    }

    /// Uniform in [0, 1) with 24 random bits.
    pub fn uniform(&self, index: u64) -> f32 {
        unit(self.word(index))
    }

    /// Uniform whole number below `n` (multiply-shift; bias below n / 2^32). 0 for `n = 0`.
    pub fn below(&self, index: u64, n: u32) -> u32 {
        ((u64::from(self.word(index)) * u64::from(n)) >> 32) as u32
    }

    /// Standard normal (Box-Muller on the two words of pair `index`).
    pub fn normal(&self, index: u64) -> f32 {
        let words = self.words(index / 2);
        let pair = &words[(index % 2 * 2) as usize..][..2];
        let (u, v) = (
            (f64::from(pair[0]) + 1.0) / 4_294_967_296.0,
            f64::from(pair[1]) / 4_294_967_296.0,
        );
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// The values `start..start + out.len()` of [`RngKey::uniform`].
    pub fn fill_uniform(&self, start: u64, out: &mut [f32]) {
        let mut words = self.words(start / 4);
        for (at, o) in (start..).zip(out) {
            if at.is_multiple_of(4) {
                words = self.words(at / 4);
            }
            *o = unit(words[(at % 4) as usize]);
        }
    }
}

fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the authors' Random123 distribution (kat_vectors, philox4x32-10).
    #[test]
    fn philox_gives_the_published_values() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
    }

    #[test]
    fn fill_equals_single_values() {
        let key = RngKey {
            seed: 3,
            stream: 4,
            step: 5,
        };
        let mut out = [0.0; 11];
        key.fill_uniform(6, &mut out);
        assert!(
            out.iter()
                .enumerate()
                .all(|(i, o)| *o == key.uniform(6 + i as u64))
        );
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let key = RngKey {
            seed: 9,
            stream: 0,
            step: 0,
        };
        let n = 20_000u64;
        let mean = (0..n).map(|i| f64::from(key.uniform(i))).sum::<f64>() / n as f64;
        let square = (0..n)
            .map(|i| f64::from(key.normal(i)).powi(2))
            .sum::<f64>()
            / n as f64;
        assert!(
            (mean - 0.5).abs() < 0.01 && (square - 1.0).abs() < 0.03,
            "{mean} {square}"
        );
    }
}
