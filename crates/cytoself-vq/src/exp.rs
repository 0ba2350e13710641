//! The exponential in a form that compilers turn into vector code.

/// `e^x` for `x <= 0` within 2 units in the last place; 0 below -87, where the result would be subnormal.
///
/// # References
/// Range reduction by Cody and Waite, "Software Manual for the Elementary Functions", 1980, chapter 6.
#[inline(always)]
pub(crate) fn exp_non_positive(x: f32) -> f32 {
    // ln 2 in two parts, the first with so few bits that its product with an integer is exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, which after the addition stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.max(-87.0);
    let moved = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = moved - ROUND;
    let r = (clamped - n * HIGH) - n * LOW;
    // The Taylor polynomial of degree 7 on |r| <= ln 2 / 2: truncation below 5e-9.
    let mut sum = 1.0 / 5040.0;
    for coefficient in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * r + coefficient;
    }
    let power = f32::from_bits(moved.to_bits().wrapping_add(127) << 23);
    if x < -87.0 { 0.0 } else { sum * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_two_units_in_the_last_place() {
        for i in 0..200_000 {
            let x = -(i as f32) * 4.35e-4;
            let (found, expected) = (f64::from(exp_non_positive(x)), f64::from(x).exp());
            assert!(
                (found - expected).abs() <= 2.4e-7 * expected,
                "{x}: {found} instead of {expected}"
            );
        }
        assert_eq!(exp_non_positive(0.0), 1.0);
        assert_eq!(exp_non_positive(-88.0), 0.0);
        assert_eq!(exp_non_positive(f32::NEG_INFINITY), 0.0);
    }
}
