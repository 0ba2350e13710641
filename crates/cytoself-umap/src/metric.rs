//! Distances between dense rows.

use std::fmt;
use std::str::FromStr;

use crate::UmapError;

/// How far apart two points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// The root of the sum of squared differences.
    #[default]
    Euclidean,
    /// 1 - cosine of the angle; 0 between two zero vectors, 1 between a zero vector and another.
    Cosine,
    /// The cosine distance after subtracting from each vector its own mean.
    Correlation,
    /// The sum of absolute differences.
    Manhattan,
}

impl Metric {
    /// Every metric, in the order of the documentation.
    pub const ALL: [Self; 4] = [
        Self::Euclidean,
        Self::Cosine,
        Self::Correlation,
        Self::Manhattan,
    ];

    /// The name on the command line and in a model file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Euclidean => "euclidean",
            Self::Cosine => "cosine",
            Self::Correlation => "correlation",
            Self::Manhattan => "manhattan",
        }
    }

    /// Whether the metric looks at angles, so that its distances end at 2.
    #[must_use]
    pub fn is_angular(self) -> bool {
        matches!(self, Self::Cosine | Self::Correlation)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = UmapError;

    fn from_str(name: &str) -> Result<Self, UmapError> {
        Self::ALL
            .into_iter()
            .find(|m| m.name() == name)
            .ok_or_else(|| {
                UmapError::parameter(
                    "metric",
                    name,
                    "euclidean, cosine, correlation or manhattan",
                )
            })
    }
}

/// Partial sums of one kernel; the remainder goes to the first lanes, and the lanes are added pairwise.
const WIDTH: usize = 32;

#[inline(always)]
fn reduce(x: &[f32], y: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; WIDTH];
    let (xs, ys) = (x.chunks_exact(WIDTH), y.chunks_exact(WIDTH));
    let (tail_x, tail_y) = (xs.remainder(), ys.remainder());
    for (x, y) in xs.zip(ys) {
        for ((s, &x), &y) in sums.iter_mut().zip(x).zip(y) {
            *s += term(x, y);
        }
    }
    for ((s, &x), &y) in sums.iter_mut().zip(tail_x).zip(tail_y) {
        *s += term(x, y);
    }
    let mut width = WIDTH / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

/// Defines a kernel twice: for AVX2 and for the baseline. Both give the same bits.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident($($extra:ident),*) = $term:expr) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name(x: &[f32], y: &[f32] $(, $extra: f32)*) -> f32 {
            #[inline(always)]
            fn body(x: &[f32], y: &[f32] $(, $extra: f32)*) -> f32 {
                reduce(x, y, $term)
            }
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2(x: &[f32], y: &[f32] $(, $extra: f32)*) -> f32 {
                    body(x, y $(, $extra)*)
                }
                if std::is_x86_feature_detected!("avx2") {
                    // SAFETY: the CPU has AVX2, tested on the line above.
                    return unsafe { avx2(x, y $(, $extra)*) };
                }
            }
            body(x, y $(, $extra)*)
        }
    };
}

kernel!(
    /// Sum of squared differences.
    squared_euclidean() = |x, y| (x - y) * (x - y)
);
kernel!(
    /// Sum of absolute differences.
    manhattan() = |x, y| (x - y).abs()
);
kernel!(
    /// Sum of products after subtracting a number from each row.
    centred_dot(mean_x, mean_y) = |x, y| (x - mean_x) * (y - mean_y)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_agree_with_plain_sums() {
        for n in [1, 7, 31, 32, 33, 784] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let y: Vec<f32> = (0..n).map(|i| (i as f32 * 0.11).cos()).collect();
            let pairs = || {
                x.iter()
                    .zip(&y)
                    .map(|(a, b)| (f64::from(*a), f64::from(*b)))
            };
            let close = |fast: f32, plain: f64| {
                assert!(
                    (f64::from(fast) - plain).abs() < 1e-4,
                    "{n}: {fast} {plain}"
                )
            };
            close(
                squared_euclidean(&x, &y),
                pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
            );
            close(manhattan(&x, &y), pairs().map(|(a, b)| (a - b).abs()).sum());
            close(
                centred_dot(&x, &y, 0.5, -0.25),
                pairs().map(|(a, b)| (a - 0.5) * (b + 0.25)).sum(),
            );
        }
    }

    #[test]
    fn names_round_trip() {
        for m in Metric::ALL {
            assert_eq!(m.name().parse::<Metric>().unwrap(), m);
        }
        assert!("euclid".parse::<Metric>().is_err());
    }
}
