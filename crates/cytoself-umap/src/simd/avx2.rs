//! 256-bit registers.

use std::arch::x86_64::*;

use super::{LANES, Simd};

/// Proof that the CPU has AVX2. Its methods become single instructions within functions compiled for AVX2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// `None` where the CPU lacks AVX2.
    #[inline]
    pub(crate) fn new() -> Option<Self> {
        std::is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

/// Methods that are one expression of intrinsics.
macro_rules! methods {
    ($($name:ident $([$n:ident])? ($($arg:ident: $type:ty),*) -> $out:ty = $body:expr;)*) => {
        $(
            #[inline(always)]
            fn $name $(<const $n: i32>)? (self, $($arg: $type),*) -> $out {
                // SAFETY: `self` exists only where the CPU has AVX2, and no argument is a pointer.
                unsafe { $body }
            }
        )*
    };
}

impl Simd for Avx2 {
    type F = __m256;
    type U = __m256i;

    methods! {
        load(v: [f32; LANES]) -> __m256 = std::mem::transmute::<[f32; LANES], __m256>(v);
        store(v: __m256) -> [f32; LANES] = std::mem::transmute::<__m256, [f32; LANES]>(v);
        load_u32(v: [u32; LANES]) -> __m256i = std::mem::transmute::<[u32; LANES], __m256i>(v);
        store_u32(v: __m256i) -> [u32; LANES] = std::mem::transmute::<__m256i, [u32; LANES]>(v);
        splat(v: f32) -> __m256 = _mm256_set1_ps(v);
        splat_u32(v: u32) -> __m256i = _mm256_set1_epi32(v as i32);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        greater(a: __m256, b: __m256) -> __m256i = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b));
        keep(v: __m256, mask: __m256i) -> __m256 = _mm256_and_ps(v, _mm256_castsi256_ps(mask));
        drop(v: __m256, mask: __m256i) -> __m256 = _mm256_andnot_ps(_mm256_castsi256_ps(mask), v);
        add_u32(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        sub_u32(a: __m256i, b: __m256i) -> __m256i = _mm256_sub_epi32(a, b);
        mul_low(a: __m256i, b: __m256i) -> __m256i = _mm256_mullo_epi32(a, b);
        mul_high(a: __m256i, b: __m256i) -> __m256i = {
            let even = _mm256_srli_epi64::<32>(_mm256_mul_epu32(a, b));
            let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
            _mm256_blend_epi32::<0b1010_1010>(even, odd)
        };
        xor(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        equal(a: __m256i, b: __m256i) -> __m256i = _mm256_cmpeq_epi32(a, b);
        shift_left[N](a: __m256i) -> __m256i = _mm256_slli_epi32::<N>(a);
        shift_right[N](a: __m256i) -> __m256i = _mm256_srli_epi32::<N>(a);
        shift_right_signed[N](a: __m256i) -> __m256i = _mm256_srai_epi32::<N>(a);
        bits(v: __m256) -> __m256i = _mm256_castps_si256(v);
        float_of_bits(v: __m256i) -> __m256 = _mm256_castsi256_ps(v);
        float_of_signed(v: __m256i) -> __m256 = _mm256_cvtepi32_ps(v);
        whole_greater(a: __m256, b: __m256) -> u32 = {
            let greater = _mm256_cmpgt_epi32(_mm256_cvttps_epi32(a), _mm256_cvttps_epi32(b));
            _mm256_movemask_ps(_mm256_castsi256_ps(greater)) as u32
        };
    }

    #[inline(always)]
    fn gather<const D: usize>(self, points: &[[f32; D]], at: [u32; LANES]) -> [__m256; D] {
        let mut out = [self.splat(0.0); D];
        if D == 2 {
            // A point is one 64-bit load.
            let pair = |l: usize| {
                let point = &points[at[l] as usize];
                f64::from_bits(u64::from(point[0].to_bits()) | u64::from(point[1].to_bits()) << 32)
            };
            // SAFETY: `self` exists only where the CPU has AVX2.
            unsafe {
                let low = _mm256_castpd_ps(_mm256_set_pd(pair(5), pair(4), pair(1), pair(0)));
                let high = _mm256_castpd_ps(_mm256_set_pd(pair(7), pair(6), pair(3), pair(2)));
                out[0] = _mm256_shuffle_ps::<0b10_00_10_00>(low, high);
                out[1] = _mm256_shuffle_ps::<0b11_01_11_01>(low, high);
            }
            return out;
        }
        let rows = at.map(|at| &points[at as usize]);
        for (d, out) in out.iter_mut().enumerate() {
            *out = self.load(rows.map(|r| r[d]));
        }
        out
    }
}
