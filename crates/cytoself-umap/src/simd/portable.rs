//! Arrays and loops.

use super::{LANES, Simd};

/// The form for every machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn zip<A: Copy, B: Copy, T>(a: [A; LANES], b: [B; LANES], f: impl Fn(A, B) -> T) -> [T; LANES] {
    std::array::from_fn(|l| f(a[l], b[l]))
}

fn mask(holds: bool) -> u32 {
    if holds { u32::MAX } else { 0 }
}

impl Simd for Portable {
    type F = [f32; LANES];
    type U = [u32; LANES];

    #[inline(always)]
    fn load(self, v: [f32; LANES]) -> Self::F {
        v
    }
    #[inline(always)]
    fn store(self, v: Self::F) -> [f32; LANES] {
        v
    }
    #[inline(always)]
    fn load_u32(self, v: [u32; LANES]) -> Self::U {
        v
    }
    #[inline(always)]
    fn store_u32(self, v: Self::U) -> [u32; LANES] {
        v
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn greater(self, a: Self::F, b: Self::F) -> Self::U {
        zip(a, b, |a, b| mask(a > b))
    }
    #[inline(always)]
    fn keep(self, v: Self::F, mask: Self::U) -> Self::F {
        zip(v, mask, |v, m| f32::from_bits(v.to_bits() & m))
    }
    #[inline(always)]
    fn drop(self, v: Self::F, mask: Self::U) -> Self::F {
        zip(v, mask, |v, m| f32::from_bits(v.to_bits() & !m))
    }
    #[inline(always)]
    fn add_u32(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    fn sub_u32(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, u32::wrapping_sub)
    }
    #[inline(always)]
    fn mul_low(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, u32::wrapping_mul)
    }
    #[inline(always)]
    fn mul_high(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32)
    }
    #[inline(always)]
    fn xor(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn equal(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| mask(a == b))
    }
    #[inline(always)]
    fn shift_left<const N: i32>(self, a: Self::U) -> Self::U {
        a.map(|a| a << N)
    }
    #[inline(always)]
    fn shift_right<const N: i32>(self, a: Self::U) -> Self::U {
        a.map(|a| a >> N)
    }
    #[inline(always)]
    fn shift_right_signed<const N: i32>(self, a: Self::U) -> Self::U {
        a.map(|a| ((a as i32) >> N) as u32)
    }
    #[inline(always)]
    fn bits(self, v: Self::F) -> Self::U {
        v.map(f32::to_bits)
    }
    #[inline(always)]
    fn float_of_bits(self, v: Self::U) -> Self::F {
        v.map(f32::from_bits)
    }
    #[inline(always)]
    fn float_of_signed(self, v: Self::U) -> Self::F {
        v.map(|v| v as i32 as f32)
    }
    #[inline(always)]
    fn whole_greater(self, a: Self::F, b: Self::F) -> u32 {
        (0..LANES)
            .map(|l| u32::from(a[l] as i32 > b[l] as i32) << l)
            .sum()
    }
    #[inline(always)]
    fn gather<const D: usize>(self, points: &[[f32; D]], at: [u32; LANES]) -> [Self::F; D] {
        let mut out = [[0.0; LANES]; D];
        for (l, at) in at.into_iter().enumerate() {
            for (d, v) in points[at as usize].into_iter().enumerate() {
                out[d][l] = v;
            }
        }
        out
    }
}
