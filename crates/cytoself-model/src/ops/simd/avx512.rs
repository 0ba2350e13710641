//! Lanes of AVX-512F.

use super::Lanes;
use super::avx2::Avx2;
use std::arch::x86_64::*;

/// AVX-512F.
pub(crate) struct Avx512;

/// The first `n` lanes.
#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    ((1u32 << n) - 1) as __mmask16
}

/// Transposes the 4 x 4 values in each quarter of four vectors.
#[inline(always)]
unsafe fn within_quarters([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
        let (ab2, cd2) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
        [
            _mm512_shuffle_ps::<0x44>(ab, cd),
            _mm512_shuffle_ps::<0xEE>(ab, cd),
            _mm512_shuffle_ps::<0x44>(ab2, cd2),
            _mm512_shuffle_ps::<0xEE>(ab2, cd2),
        ]
    }
}

/// Transposes the quarters of four vectors.
#[inline(always)]
unsafe fn quarters([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (ab, cd) = (
            _mm512_shuffle_f32x4::<0x44>(a, b),
            _mm512_shuffle_f32x4::<0x44>(c, d),
        );
        let (ab2, cd2) = (
            _mm512_shuffle_f32x4::<0xEE>(a, b),
            _mm512_shuffle_f32x4::<0xEE>(c, d),
        );
        [
            _mm512_shuffle_f32x4::<0x88>(ab, cd),
            _mm512_shuffle_f32x4::<0xDD>(ab, cd),
            _mm512_shuffle_f32x4::<0x88>(ab2, cd2),
            _mm512_shuffle_f32x4::<0xDD>(ab2, cd2),
        ]
    }
}

// SAFETY (all): the trait asks the caller for a processor with AVX-512F, and for valid pointers.
#[allow(clippy::undocumented_unsafe_blocks)] // stated once above
impl Lanes for Avx512 {
    const N: usize = 16;
    type V = __m512;
    #[inline(always)]
    unsafe fn zero() -> __m512 {
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(a: f32) -> __m512 {
        unsafe { _mm512_set1_ps(a) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, a: __m512) {
        unsafe { _mm512_storeu_ps(p, a) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(mask(n), p) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, n: usize, a: __m512) {
        unsafe { _mm512_mask_storeu_ps(p, mask(n), a) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fnma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add_exponent(a: __m512, n: __m512) -> __m512 {
        unsafe {
            let moved = _mm512_slli_epi32::<23>(_mm512_castps_si512(n));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), moved))
        }
    }
    #[inline(always)]
    unsafe fn load_fours(p: *const f32) -> [__m512; 4] {
        unsafe {
            within_quarters(quarters([
                Self::load(p),
                Self::load(p.add(16)),
                Self::load(p.add(32)),
                Self::load(p.add(48)),
            ]))
        }
    }
    #[inline(always)]
    unsafe fn store_fours(p: *mut f32, a: [__m512; 4]) {
        unsafe {
            let [a, b, c, d] = quarters(within_quarters(a));
            Self::store(p, a);
            Self::store(p.add(16), b);
            Self::store(p.add(32), c);
            Self::store(p.add(48), d);
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, step: usize, mut to: impl FnMut(usize) -> *mut f32) {
        unsafe {
            // Fours of rows within quarters, then the quarters of the fours.
            let row = |i: usize| Self::load(from.add(i * step));
            let fours = |i: usize| within_quarters([row(i), row(i + 1), row(i + 2), row(i + 3)]);
            let (a, b, c, d) = (fours(0), fours(4), fours(8), fours(12));
            for j in 0..4 {
                let columns = quarters([a[j], b[j], c[j], d[j]]);
                for (quarter, column) in columns.into_iter().enumerate() {
                    Self::store(to(4 * quarter + j), column);
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn shift(a: __m512, last: f32) -> __m512 {
        unsafe {
            let last = _mm512_castps_si512(_mm512_set1_ps(last));
            _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(last, _mm512_castps_si512(a)))
        }
    }
    #[inline(always)]
    unsafe fn sum(a: __m512) -> f32 {
        unsafe {
            let upper = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a));
            Avx2::sum(_mm256_add_ps(
                _mm512_castps512_ps256(a),
                _mm256_castpd_ps(upper),
            ))
        }
    }
}
