//! Vectors of f32 behind one trait, so that every kernel is written once and compiled for each instruction set.
//!
//! A kernel is a generic `#[inline(always)]` function over [`Lanes`]; [`kernel!`] makes one instance inside a
//! `#[target_feature]` function per instruction set and picks one at run time.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
pub(crate) mod math;
pub(crate) mod portable;

use std::sync::OnceLock;

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// Plain Rust, any processor.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
}

impl InstructionSet {
    /// The best set that this processor has; asked once per process.
    pub fn detect() -> Self {
        static FOUND: OnceLock<InstructionSet> = OnceLock::new();
        *FOUND.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
            Self::Portable
        })
    }
}

/// Eight f32 at a time.
///
/// # Safety
/// Methods of an implementation may only run on a processor that has its instructions, and pointers must be valid for the
/// lanes that are read or written.
pub(crate) trait Lanes {
    /// The vector.
    type V: Copy;
    unsafe fn zero() -> Self::V;
    unsafe fn splat(a: f32) -> Self::V;
    /// Loads eight values.
    unsafe fn load(p: *const f32) -> Self::V;
    /// Stores eight values.
    unsafe fn store(p: *mut f32, a: Self::V);
    /// Loads the first `n < 8` values, zeros beyond.
    unsafe fn load_part(p: *const f32, n: usize) -> Self::V;
    /// Stores the first `n < 8` values.
    unsafe fn store_part(p: *mut f32, n: usize, a: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// `a * b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a * b`.
    unsafe fn fnma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The nearest integer, ties to even.
    unsafe fn round(a: Self::V) -> Self::V;
    /// `a * 2^n` for whole `n` in -126..=127.
    unsafe fn scale(a: Self::V, n: Self::V) -> Self::V;
    /// Loads 32 values as eight groups of four: lane `t` of vector `j` is value `4 t + j`.
    unsafe fn load_fours(p: *const f32) -> [Self::V; 4];
    /// The inverse of [`Lanes::load_fours`].
    unsafe fn store_fours(p: *mut f32, a: [Self::V; 4]);
    /// Lane `i` of vector `j` becomes lane `j` of vector `i`.
    unsafe fn transpose(a: [Self::V; N]) -> [Self::V; N];
    /// Every lane takes the next one's value, the last takes `last`.
    unsafe fn shift(a: Self::V, last: f32) -> Self::V;
    /// The sum of the lanes in a fixed order.
    unsafe fn sum(a: Self::V) -> f32;
}

/// The lanes of every [`Lanes::V`].
pub(crate) const N: usize = 8;

/// Loads `n` values, eight at most, zeros beyond.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn load_up_to<L: Lanes>(p: *const f32, n: usize) -> L::V {
    // SAFETY: the caller's promise.
    unsafe {
        if n < N {
            L::load_part(p, n)
        } else {
            L::load(p)
        }
    }
}

/// Stores `n` values, eight at most.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn store_up_to<L: Lanes>(p: *mut f32, n: usize, a: L::V) {
    // SAFETY: the caller's promise.
    unsafe {
        if n < N {
            L::store_part(p, n, a)
        } else {
            L::store(p, a)
        }
    }
}

/// Declares a kernel: generic code, one instance per instruction set, and a function that picks the instance.
///
/// The generic code sees the type parameter `L: Lanes`; pointers in the arguments are the caller's responsibility.
macro_rules! kernel {
    ($(#[$doc:meta])* $vis:vis unsafe fn $name:ident<L>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)] // kernels take their geometry flat
        $vis unsafe fn $name(isa: $crate::ops::simd::InstructionSet, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, clippy::needless_range_loop)] // matrices are clearer by index
            unsafe fn generic<L: $crate::ops::simd::Lanes>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller of the kernel vouches for the pointers, the dispatch below for the instructions.
                unsafe { $body }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx2($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: as above.
                unsafe { generic::<$crate::ops::simd::avx2::Avx2>($($arg),*) }
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `Avx2` is only made by `detect`, or by tests that checked the processor.
                $crate::ops::simd::InstructionSet::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: the portable lanes need no special instructions.
                _ => unsafe { generic::<$crate::ops::simd::portable::Portable>($($arg),*) },
            }
        }
    };
}
pub(crate) use kernel;
