//! Lanes of AVX2 with FMA.

use super::Lanes;
use std::arch::x86_64::*;

/// AVX2 and FMA.
pub(crate) struct Avx2;

/// Lane masks for the first 0..8 lanes: eight ones, then eight zeros, read at `8 - n`.
static MASK: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
unsafe fn mask(n: usize) -> __m256i {
    debug_assert!(n <= 8);
    // SAFETY: n <= 8, so the eight values at 8 - n lie inside MASK.
    unsafe { _mm256_loadu_si256(MASK.as_ptr().add(8 - n).cast()) }
}

// SAFETY (all): the trait asks the caller for a processor with AVX2 and FMA, and for valid pointers.
#[allow(clippy::undocumented_unsafe_blocks)] // stated once above
impl Lanes for Avx2 {
    const N: usize = 8;
    type V = __m256;
    #[inline(always)]
    unsafe fn zero() -> __m256 {
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(a: f32) -> __m256 {
        unsafe { _mm256_set1_ps(a) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, a: __m256) {
        unsafe { _mm256_storeu_ps(p, a) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(p, mask(n)) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, n: usize, a: __m256) {
        unsafe { _mm256_maskstore_ps(p, mask(n), a) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m256) -> __m256 {
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fnma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add_exponent(a: __m256, n: __m256) -> __m256 {
        unsafe {
            let moved = _mm256_slli_epi32::<23>(_mm256_castps_si256(n));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), moved))
        }
    }
    #[inline(always)]
    unsafe fn load_fours(p: *const f32) -> [__m256; 4] {
        unsafe {
            // Group t in the lower half, group t + 4 in the upper; then a 4x4 transpose in each half.
            let (a, b) = (
                _mm256_loadu2_m128(p.add(16), p),
                _mm256_loadu2_m128(p.add(20), p.add(4)),
            );
            let (c, d) = (
                _mm256_loadu2_m128(p.add(24), p.add(8)),
                _mm256_loadu2_m128(p.add(28), p.add(12)),
            );
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let (ab2, cd2) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            [
                _mm256_shuffle_ps::<0x44>(ab, cd),
                _mm256_shuffle_ps::<0xEE>(ab, cd),
                _mm256_shuffle_ps::<0x44>(ab2, cd2),
                _mm256_shuffle_ps::<0xEE>(ab2, cd2),
            ]
        }
    }
    #[inline(always)]
    unsafe fn store_fours(p: *mut f32, [a, b, c, d]: [__m256; 4]) {
        unsafe {
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let (ab2, cd2) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            let (g0, g1) = (
                _mm256_shuffle_ps::<0x44>(ab, cd),
                _mm256_shuffle_ps::<0xEE>(ab, cd),
            );
            let (g2, g3) = (
                _mm256_shuffle_ps::<0x44>(ab2, cd2),
                _mm256_shuffle_ps::<0xEE>(ab2, cd2),
            );
            _mm256_storeu_ps(p, _mm256_permute2f128_ps::<0x20>(g0, g1));
            _mm256_storeu_ps(p.add(8), _mm256_permute2f128_ps::<0x20>(g2, g3));
            _mm256_storeu_ps(p.add(16), _mm256_permute2f128_ps::<0x31>(g0, g1));
            _mm256_storeu_ps(p.add(24), _mm256_permute2f128_ps::<0x31>(g2, g3));
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, step: usize, mut to: impl FnMut(usize) -> *mut f32) {
        unsafe {
            let mut a = [Self::zero(); 8];
            for (i, row) in a.iter_mut().enumerate() {
                *row = Self::load(from.add(i * step));
            }
            // Pairs of rows, then fours in each half, then the halves.
            let lo = |i: usize| _mm256_unpacklo_ps(a[i], a[i + 1]);
            let hi = |i: usize| _mm256_unpackhi_ps(a[i], a[i + 1]);
            let fours = |i: usize| {
                let (l0, h0, l2, h2) = (lo(i), hi(i), lo(i + 2), hi(i + 2));
                [
                    _mm256_shuffle_ps::<0x44>(l0, l2),
                    _mm256_shuffle_ps::<0xEE>(l0, l2),
                    _mm256_shuffle_ps::<0x44>(h0, h2),
                    _mm256_shuffle_ps::<0xEE>(h0, h2),
                ]
            };
            let (top, bottom) = (fours(0), fours(4));
            for i in 0..4 {
                let (first, second) = (
                    _mm256_permute2f128_ps::<0x20>(top[i], bottom[i]),
                    _mm256_permute2f128_ps::<0x31>(top[i], bottom[i]),
                );
                Self::store(to(i), first);
                Self::store(to(i + 4), second);
            }
        }
    }
    #[inline(always)]
    unsafe fn shift(a: __m256, last: f32) -> __m256 {
        unsafe {
            let moved = _mm256_permutevar8x32_ps(a, _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 7));
            _mm256_blend_ps::<0x80>(moved, _mm256_set1_ps(last))
        }
    }
    #[inline(always)]
    unsafe fn sum(a: __m256) -> f32 {
        unsafe {
            let q = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let d = _mm_add_ps(q, _mm_movehl_ps(q, q));
            _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps::<1>(d, d)))
        }
    }
}
