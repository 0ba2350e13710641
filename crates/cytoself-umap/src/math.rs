//! Elementary functions of our own, so that a result does not depend on the system's libm.
//!
//! The vector forms use no fused multiply-add and so give the same bits compiled for AVX2, for baseline x86-64 or for
//! another architecture.

use crate::simd::Simd;

/// 1.5 * 2^23: adding and subtracting it rounds to the nearest integer.
const ROUND: f32 = 12_582_912.0;

/// log2(1 + t) / t on [sqrt(1/2) - 1, sqrt(2) - 1], Chebyshev interpolation, error 3.3e-7.
const LOG2: [f32; 8] = [
    std::f32::consts::LOG2_E,
    -0.721_352_93,
    0.480_916_7,
    -0.360_225_18,
    0.287_288_88,
    -0.249_271_82,
    0.232_652_58,
    -0.142_759_73,
];

/// 2^t on [-1/2, 1/2], Chebyshev interpolation, error 8e-8.
const EXP2: [f32; 6] = [
    1.000_000_1,
    std::f32::consts::LN_2,
    0.240_221_07,
    0.055_503_57,
    0.009_676_032,
    0.001_339_086_3,
];

/// The polynomial with these coefficients, lowest first.
#[inline(always)]
fn polynomial<S: Simd>(s: S, coefficients: &[f32], t: S::F) -> S::F {
    let mut rest = coefficients.iter().rev();
    let mut p = s.splat(rest.next().copied().unwrap_or(0.0));
    for &c in rest {
        p = s.add(s.mul(p, t), s.splat(c));
    }
    p
}

/// Base-2 logarithm of positive numbers; 0 gives about -127.
#[inline(always)]
pub(crate) fn log2<S: Simd>(s: S, x: S::F) -> S::F {
    // sqrt(1/2): the mantissa goes from there to sqrt(2).
    let least = s.splat_u32(0x3f35_04f3);
    let exponent = s.shift_right_signed::<23>(s.sub_u32(s.bits(x), least));
    let mantissa = s.float_of_bits(s.sub_u32(s.bits(x), s.shift_left::<23>(exponent)));
    let t = s.sub(mantissa, s.splat(1.0));
    s.add(
        s.float_of_signed(exponent),
        s.mul(polynomial(s, &LOG2, t), t),
    )
}

/// 2^x, with x limited to [-126, 126].
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.max(s.min(x, s.splat(126.0)), s.splat(-126.0));
    let rounded = s.add(x, s.splat(ROUND));
    let t = s.sub(x, s.sub(rounded, s.splat(ROUND)));
    let exponent = s.shift_left::<23>(s.sub_u32(s.bits(rounded), s.splat_u32(ROUND.to_bits())));
    s.float_of_bits(s.add_u32(s.bits(polynomial(s, &EXP2, t)), exponent))
}

/// x^y for positive x.
#[inline(always)]
pub(crate) fn pow<S: Simd>(s: S, x: S::F, y: f32) -> S::F {
    exp2(s, s.mul(log2(s, x), s.splat(y)))
}

/// e^x in f64 to about 1e-15 relative; 0 below -700.
pub(crate) fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let k = (x.min(700.0) * std::f64::consts::LOG2_E).round();
    // ln 2 in two parts, so that the reduction is exact to the last bits.
    let r = (x.min(700.0) - k * 6.931_471_803_691_238e-1) - k * 1.908_214_929_270_587_7e-10;
    let mut p = 1.0;
    for n in (1..=14).rev() {
        p = 1.0 + p * r / f64::from(n);
    }
    p * f64::from_bits(((k as i64 + 1023) as u64) << 52)
}

/// Natural logarithm of a positive normal number in f64, to about 1e-15.
pub(crate) fn ln(x: f64) -> f64 {
    let shifted = (x.to_bits() as i64).wrapping_sub(0x3fe6_a09e_667f_3bcd) >> 52;
    let mantissa = f64::from_bits((x.to_bits() as i64).wrapping_sub(shifted << 52) as u64);
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let mut sum = 0.0;
    for n in (0..18).rev() {
        sum = sum * s * s + 1.0 / f64::from(2 * n + 1);
    }
    shifted as f64 * std::f64::consts::LN_2 + 2.0 * s * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{LANES, Portable};

    #[test]
    fn vector_forms_are_close_to_libm() {
        let mut x = 1e-6_f32;
        while x < 1e5 {
            let fast = pow(Portable, [x; LANES], 0.895_060_9)[3];
            let exact = f64::from(x).powf(0.895_060_9);
            assert!(
                (f64::from(fast) / exact - 1.0).abs() < 3e-6,
                "{x}: {fast} {exact}"
            );
            assert!((f64::from(log2(Portable, [x; LANES])[0]) - f64::from(x).log2()).abs() < 3e-6);
            x *= 1.003;
        }
    }

    #[test]
    fn scalar_forms_are_close_to_libm() {
        for i in -6990..700 {
            let x = f64::from(i) * 0.1;
            assert!((exp(x) / x.exp() - 1.0).abs() < 4e-15, "{x}");
        }
        for i in 1..5000 {
            let x = f64::from(i) * 0.37 + 1e-9;
            assert!((ln(x) - x.ln()).abs() < 4e-15 * (1.0 + x.ln().abs()), "{x}");
        }
        assert_eq!(exp(-1e9), 0.0);
    }

    #[test]
    fn zero_distance_stays_finite() {
        assert!(
            pow(Portable, [0.0; LANES], 0.9)
                .iter()
                .all(|v| v.is_finite() && *v < 1e-30)
        );
    }
}
