//! The few vector operations of the search, for each instruction set.

/// Several `f32` side by side.
///
/// # Safety
/// Every method may only be called where the instruction set of the implementation is enabled; pointers must be valid for
/// [`Lanes::WIDTH`] values.
pub(super) trait Lanes: Copy {
    /// Values side by side.
    const WIDTH: usize;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self * b + c`; whether it rounds once or twice does not matter to the search.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn max(self, b: Self) -> Self;
    unsafe fn min(self, b: Self) -> Self;
    /// Whether any lane has `self > b`.
    unsafe fn any_gt(self, b: Self) -> bool;
    /// Per lane `if self > b { yes } else { no }`, on bit patterns.
    unsafe fn select_gt(self, b: Self, yes: Self, no: Self) -> Self;
    /// `self` times the value whose exponent is the lowest eight bits of `power` and whose other bits are 0.
    unsafe fn scale_by_power(self, power: Self) -> Self;
}

/// Four lanes in plain Rust, which compilers turn into SSE2 or NEON.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; 4]);

impl Portable {
    #[inline(always)]
    fn zip(self, b: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|l| f(self.0[l], b.0[l])))
    }
}

#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    // Where the target has no fused multiply-add, `f32::mul_add` calls a slow library function.
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

impl Lanes for Portable {
    const WIDTH: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives a pointer to four values; `[f32; 4]` has the alignment of `f32`.
        Self(unsafe { from.cast::<[f32; 4]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as `load`.
        unsafe { to.cast::<[f32; 4]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|l| {
            multiply_add(self.0[l], b.0[l], c.0[l])
        }))
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        self.zip(b, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        self.zip(b, |x, y| x - y)
    }
    #[inline(always)]
    unsafe fn scale_by_power(self, power: Self) -> Self {
        self.zip(power, |x, p| x * f32::from_bits(p.to_bits() << 23))
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        self.zip(b, |x, y| if x > y { x } else { y })
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        self.zip(b, |x, y| if x < y { x } else { y })
    }
    #[inline(always)]
    unsafe fn any_gt(self, b: Self) -> bool {
        (0..4).fold(false, |any, l| any | (self.0[l] > b.0[l]))
    }
    #[inline(always)]
    unsafe fn select_gt(self, b: Self, yes: Self, no: Self) -> Self {
        Self(std::array::from_fn(|l| {
            if self.0[l] > b.0[l] {
                yes.0[l]
            } else {
                no.0[l]
            }
        }))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    /// Eight lanes; needs `avx2` and `fma`.
    #[derive(Clone, Copy)]
    pub(in crate::cpu) struct Avx2(__m256);

    // SAFETY of every block below: the trait's contract says that AVX2 and FMA are enabled and that pointers are valid.
    #[allow(
        clippy::undocumented_unsafe_blocks,
        reason = "one contract for all of them, stated above"
    )]
    impl Lanes for Avx2 {
        const WIDTH: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            Self(unsafe { _mm256_add_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            Self(unsafe { _mm256_sub_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn scale_by_power(self, power: Self) -> Self {
            let bits = unsafe { _mm256_slli_epi32::<23>(_mm256_castps_si256(power.0)) };
            Self(unsafe { _mm256_mul_ps(self.0, _mm256_castsi256_ps(bits)) })
        }
        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            Self(unsafe { _mm256_max_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn min(self, b: Self) -> Self {
            Self(unsafe { _mm256_min_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn any_gt(self, b: Self) -> bool {
            unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, b.0)) != 0 }
        }
        #[inline(always)]
        unsafe fn select_gt(self, b: Self, yes: Self, no: Self) -> Self {
            Self(unsafe { _mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, b.0)) })
        }
    }

    /// Sixteen lanes; needs `avx512f`.
    #[derive(Clone, Copy)]
    pub(in crate::cpu) struct Avx512(__m512);

    // SAFETY of every block below: the trait's contract says that AVX-512F is enabled and that pointers are valid.
    #[allow(
        clippy::undocumented_unsafe_blocks,
        reason = "one contract for all of them, stated above"
    )]
    impl Lanes for Avx512 {
        const WIDTH: usize = 16;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            Self(unsafe { _mm512_add_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            Self(unsafe { _mm512_sub_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn scale_by_power(self, power: Self) -> Self {
            let bits = unsafe { _mm512_slli_epi32::<23>(_mm512_castps_si512(power.0)) };
            Self(unsafe { _mm512_mul_ps(self.0, _mm512_castsi512_ps(bits)) })
        }
        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            Self(unsafe { _mm512_max_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn min(self, b: Self) -> Self {
            Self(unsafe { _mm512_min_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn any_gt(self, b: Self) -> bool {
            unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, b.0) != 0 }
        }
        #[inline(always)]
        unsafe fn select_gt(self, b: Self, yes: Self, no: Self) -> Self {
            Self(unsafe {
                _mm512_mask_mov_ps(no.0, _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, b.0), yes.0)
            })
        }
    }
}
