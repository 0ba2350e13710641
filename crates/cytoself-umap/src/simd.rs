//! Eight numbers side by side: one interface, a portable form, and AVX2 where the CPU has it.
//!
//! Left to itself the compiler turns half of such loops into single additions and branches. Both forms do the same
//! operations in the same order, none of them fused, and so give the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
pub(crate) use portable::Portable;

/// Lanes, on every machine.
pub(crate) const LANES: usize = 8;

/// Operations on eight lanes. A comparison gives all ones in a lane where it holds, else zeros.
pub(crate) trait Simd: Copy {
    /// Eight f32.
    type F: Copy;
    /// Eight u32.
    type U: Copy;

    fn load(self, v: [f32; LANES]) -> Self::F;
    fn store(self, v: Self::F) -> [f32; LANES];
    fn load_u32(self, v: [u32; LANES]) -> Self::U;
    fn store_u32(self, v: Self::U) -> [u32; LANES];

    #[inline(always)]
    fn splat(self, v: f32) -> Self::F {
        self.load([v; LANES])
    }
    #[inline(always)]
    fn splat_u32(self, v: u32) -> Self::U {
        self.load_u32([v; LANES])
    }

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a` where a < b, else `b`, also where either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a` where a > b, else `b`, also where either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    fn greater(self, a: Self::F, b: Self::F) -> Self::U;
    /// The value where the mask is set, else 0.
    fn keep(self, v: Self::F, mask: Self::U) -> Self::F;
    /// 0 where the mask is set, else the value.
    fn drop(self, v: Self::F, mask: Self::U) -> Self::F;

    fn add_u32(self, a: Self::U, b: Self::U) -> Self::U;
    fn sub_u32(self, a: Self::U, b: Self::U) -> Self::U;
    /// The low 32 bits of the products.
    fn mul_low(self, a: Self::U, b: Self::U) -> Self::U;
    /// The high 32 bits of the products.
    fn mul_high(self, a: Self::U, b: Self::U) -> Self::U;
    fn xor(self, a: Self::U, b: Self::U) -> Self::U;
    fn equal(self, a: Self::U, b: Self::U) -> Self::U;
    fn shift_left<const N: i32>(self, a: Self::U) -> Self::U;
    fn shift_right<const N: i32>(self, a: Self::U) -> Self::U;
    /// With copies of the sign.
    fn shift_right_signed<const N: i32>(self, a: Self::U) -> Self::U;

    fn bits(self, v: Self::F) -> Self::U;
    fn float_of_bits(self, v: Self::U) -> Self::F;
    /// Lanes taken as signed integers.
    fn float_of_signed(self, v: Self::U) -> Self::F;
    /// Bit l is set where lane l of the integer part of `a` is greater than that of `b`; both within i32.
    fn whole_greater(self, a: Self::F, b: Self::F) -> u32;

    /// Eight points, coordinate by coordinate.
    fn gather<const D: usize>(self, points: &[[f32; D]], at: [u32; LANES]) -> [Self::F; D];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation on awkward lanes, as bits.
    fn everything<S: Simd>(s: S) -> Vec<[u32; LANES]> {
        let a = [1.5, -0.0, f32::NAN, 3e38, -7.25, 1e-40, f32::INFINITY, 8.0];
        let b = [2.5, 0.0, 1.0, -3e38, f32::NAN, 1e-41, 2.0, -8.0];
        let x = [
            0,
            1,
            u32::MAX,
            0x8000_0000,
            0x7fff_ffff,
            12345,
            0x7feb_352d,
            77,
        ];
        let y = [3, 1, u32::MAX, 2, 0x8000_0001, 99, 0x846c_a68b, 77];
        let (a, b, x, y) = (s.load(a), s.load(b), s.load_u32(x), s.load_u32(y));
        let floats = [
            s.add(a, b),
            s.sub(a, b),
            s.mul(a, b),
            s.div(a, b),
            s.min(a, b),
            s.max(a, b),
            s.keep(a, s.greater(a, b)),
            s.drop(a, s.greater(a, b)),
            s.float_of_bits(x),
            s.float_of_signed(x),
            s.splat(-1.0),
        ];
        let whole = [
            s.greater(a, b),
            s.add_u32(x, y),
            s.sub_u32(x, y),
            s.mul_low(x, y),
            s.mul_high(x, y),
            s.xor(x, y),
            s.equal(x, y),
            s.shift_left::<23>(x),
            s.shift_right::<16>(x),
            s.shift_right_signed::<23>(x),
            s.bits(a),
            s.splat_u32(9),
        ];
        // NaNs differ in sign and payload between machines.
        let bits = |v: f32| if v.is_nan() { 1 } else { v.to_bits() };
        let mut out: Vec<[u32; LANES]> = floats.map(|v| s.store(v).map(bits)).to_vec();
        out.extend(whole.map(|v| s.store_u32(v)));
        let (c, d) = (
            [0.9, 1.0, 5.5, 2.0, -1.5, 3.0, 0.0, 9.0],
            [0.1, 0.9, 5.4, 1.9, -2.5, 3.0, 0.5, 7.0],
        );
        out.push([s.whole_greater(s.load(c), s.load(d)); LANES]);
        let at = [3, 0, 2, 2, 4, 1, 0, 3];
        let two = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 10.0]];
        let three = two.map(|[a, b]| [a, b, a * b]);
        out.extend(s.gather(&two, at).map(|v| s.store(v).map(bits)));
        out.extend(s.gather(&three, at).map(|v| s.store(v).map(bits)));
        out
    }

    #[test]
    fn both_forms_give_the_same_bits() {
        let plain = everything(Portable);
        assert_eq!(
            plain[12],
            [3, 2, u32::MAX - 1, 0x8000_0002, 0, 12444, 0x0457_dbb8, 154]
        );
        #[cfg(target_arch = "x86_64")]
        if let Some(fast) = Avx2::new() {
            assert_eq!(everything(fast), plain);
        }
    }
}
