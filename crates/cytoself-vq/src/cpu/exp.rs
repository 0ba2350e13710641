//! The exponential of several values side by side.

use super::lanes::Lanes;

/// Arguments of [`exp`] are taken for the nearest of these: what lies outside would be subnormal or close to overflow.
pub(super) const RANGE: (f32, f32) = (-87.0, 80.0);

/// `e^x` within 2 units in the last place for `x` in [`RANGE`], whose bounds stand for what lies beyond; NaN counts as the lower one.
///
/// # Safety
/// The instruction set of `V` is enabled.
///
/// # References
/// Range reduction by Cody and Waite, "Software Manual for the Elementary Functions", 1980, chapter 6. The polynomial is the minimax one
/// of degree 6 for the relative error on `|r| <= ln 2 / 2` (Remez), 1.8e-8 with coefficients in `f32`.
#[inline(always)]
pub(super) unsafe fn exp<V: Lanes>(x: V) -> V {
    // ln 2 in two parts, the first with so few bits that its product with an integer is exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 6] = [
        0.008_374_824,
        0.041_668_225,
        0.166_664_2,
        0.499_999_9,
        1.0,
        1.0,
    ];
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, which after the addition stands in the low bits; with the
    // bias of exponents on top they are those of a power of two.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    // SAFETY: by the caller's contract.
    unsafe {
        let x = x.max(V::splat(RANGE.0)).min(V::splat(RANGE.1));
        let moved = x.mul_add(V::splat(std::f32::consts::LOG2_E), V::splat(ROUND));
        let n = moved.sub(V::splat(ROUND));
        let r = n.mul_add(V::splat(-HIGH), x);
        let r = n.mul_add(V::splat(-LOW), r);
        let mut sum = V::splat(0.001_383_683_5);
        for coefficient in COEFFICIENTS {
            sum = sum.mul_add(r, V::splat(coefficient));
        }
        sum.scale_by_power(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes;
    use super::*;

    /// # Safety
    /// As [`exp`].
    #[inline(always)]
    unsafe fn check<V: Lanes>() {
        let one = |x: f32| {
            let mut out = vec![0.0; V::WIDTH];
            // SAFETY: by the contract of this function; there is room for all lanes.
            unsafe { exp(V::splat(x)).store(out.as_mut_ptr()) };
            assert!(out.iter().all(|v| *v == out[0]));
            out[0]
        };
        for i in 0..200_000 {
            let x = 80.0 - (i as f32) * 8.35e-4;
            let (found, expected) = (f64::from(one(x)), f64::from(x).exp());
            assert!(
                (found - expected).abs() <= 2.4e-7 * expected,
                "{x}: {found} instead of {expected}"
            );
        }
        assert_eq!(one(0.0), 1.0);
        assert_eq!(one(f32::NEG_INFINITY), one(-87.0));
        assert_eq!(one(f32::NAN), one(-87.0));
        assert_eq!(one(f32::INFINITY), one(80.0));
        assert!(one(-87.0) < 1.7e-38);
    }

    #[test]
    fn within_two_units_in_the_last_place() {
        // SAFETY: plain Rust.
        unsafe { check::<lanes::Portable>() };
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2() {
                // SAFETY: enabled here.
                unsafe { check::<lanes::Avx2>() };
            }
            // SAFETY: the machine has it.
            unsafe { avx2() };
        }
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            #[target_feature(enable = "avx512f")]
            unsafe fn avx512() {
                // SAFETY: enabled here.
                unsafe { check::<lanes::Avx512>() };
            }
            // SAFETY: the machine has it.
            unsafe { avx512() };
        }
    }
}
