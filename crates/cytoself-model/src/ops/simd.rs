//! Vectors of f32 behind one trait, so that every kernel is written once and compiled for each instruction set.
//!
//! A kernel is a generic `#[inline(always)]` function over [`Lanes`]; [`kernel!`] makes one instance inside a
//! `#[target_feature]` function per instruction set and picks one at run time.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod math;
pub(crate) mod portable;

use std::sync::OnceLock;

/// An instruction set that the kernels are compiled for. Those of a processor come from [`available`](Self::available) and
/// [`detect`](Self::detect) only: kernels rely on having the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// Plain Rust, any processor.
    Portable,
    /// x86-64 with AVX2 and FMA.
    #[non_exhaustive]
    Avx2,
    /// x86-64 with AVX-512F.
    #[non_exhaustive]
    Avx512,
}

impl InstructionSet {
    /// The sets that this processor has, the best one last.
    pub fn available() -> &'static [Self] {
        const ALL: [InstructionSet; 3] = [
            InstructionSet::Portable,
            InstructionSet::Avx2,
            InstructionSet::Avx512,
        ];
        static FOUND: OnceLock<usize> = OnceLock::new();
        let found = *FOUND.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return 2 + usize::from(is_x86_feature_detected!("avx512f"));
            }
            1
        });
        &ALL[..found]
    }

    /// The best set that this processor has; asked once per process.
    pub fn detect() -> Self {
        *Self::available().last().unwrap_or(&Self::Portable)
    }

    /// Lanes of its vectors.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Portable | Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }
}

/// Lanes that a vector has at most.
pub(crate) const MOST: usize = 16;

/// Several f32 at a time.
///
/// # Safety
/// Methods of an implementation may only run on a processor that has its instructions, and pointers must be valid for the
/// lanes that are read or written.
pub(crate) trait Lanes {
    /// Lanes of a vector, at most [`MOST`].
    const N: usize;
    /// The vector.
    type V: Copy;
    unsafe fn zero() -> Self::V;
    unsafe fn splat(a: f32) -> Self::V;
    /// Loads `N` values.
    unsafe fn load(p: *const f32) -> Self::V;
    /// Stores `N` values.
    unsafe fn store(p: *mut f32, a: Self::V);
    /// Loads the first `n <= N` values, zeros beyond.
    unsafe fn load_part(p: *const f32, n: usize) -> Self::V;
    /// Stores the first `n <= N` values.
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
    /// `a` times two to the power of the integer in the lowest nine bits of `n`, whose other bits do not matter; for results that are
    /// normal numbers.
    unsafe fn add_exponent(a: Self::V, n: Self::V) -> Self::V;
    /// Loads `4 N` values as groups of four: lane `t` of vector `j` is value `4 t + j`.
    unsafe fn load_fours(p: *const f32) -> [Self::V; 4];
    /// The inverse of [`Lanes::load_fours`].
    unsafe fn store_fours(p: *mut f32, a: [Self::V; 4]);
    /// Loads `N` vectors that lie `step` values apart and stores their transpose: lane `i` of vector `j` becomes value `j` at `to(i)`.
    unsafe fn transpose(from: *const f32, step: usize, to: impl FnMut(usize) -> *mut f32);
    /// Every lane takes the next one's value, the last takes `last`.
    unsafe fn shift(a: Self::V, last: f32) -> Self::V;
    /// The sum of the lanes in a fixed order.
    unsafe fn sum(a: Self::V) -> f32;
}

/// Loads `n` values, `N` at most, zeros beyond.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn load_up_to<L: Lanes>(p: *const f32, n: usize) -> L::V {
    // SAFETY: the caller's promise.
    unsafe {
        if n < L::N {
            L::load_part(p, n)
        } else {
            L::load(p)
        }
    }
}

/// Stores `n` values, `N` at most.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn store_up_to<L: Lanes>(p: *mut f32, n: usize, a: L::V) {
    // SAFETY: the caller's promise.
    unsafe {
        if n < L::N {
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
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx512($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: as above.
                unsafe { generic::<$crate::ops::simd::avx512::Avx512>($($arg),*) }
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `Avx512` is only made by `available`, which asks the processor.
                $crate::ops::simd::InstructionSet::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `Avx2` is only made by `available`, which asks the processor.
                $crate::ops::simd::InstructionSet::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: the portable lanes need no special instructions.
                _ => unsafe { generic::<$crate::ops::simd::portable::Portable>($($arg),*) },
            }
        }
    };
}
pub(crate) use kernel;

#[cfg(test)]
mod tests {
    use super::*;

    kernel! {
        /// What moves values about, from `4 N` values and a square, to memory that a test reads.
        unsafe fn move_about<L>(x: *const f32, n: usize, fours: *mut f32, back: *mut f32, square: *mut f32, rest: *mut f32) -> f32 {
            let vectors = L::load_fours(x);
            for j in 0..4 {
                L::store(fours.add(j * L::N), vectors[j]);
            }
            L::store_fours(back, vectors);
            // Rows four values apart, columns five.
            L::transpose(x, 4, |i| square.add(i * (L::N + 5)));
            store_up_to::<L>(rest, n, load_up_to::<L>(x, n));
            L::store(rest.add(MOST), L::load_part(x, n));
            L::store(rest.add(2 * MOST), L::shift(L::load(x), -7.0));
            let power = L::add(L::splat(12_582_912.0), L::splat(-3.0));
            L::store(rest.add(3 * MOST), L::add_exponent(L::load(x), power));
            L::sum(L::load(x))
        }
    }

    #[test]
    fn every_set_moves_values_alike() {
        for &isa in InstructionSet::available() {
            let lanes = isa.lanes();
            let x: Vec<f32> = (0..5 * MOST).map(|i| (i + 1) as f32).collect();
            for n in 0..=lanes {
                let (mut fours, mut back) = (vec![0.0; 4 * lanes], vec![0.0; 4 * lanes]);
                let mut square = vec![0.0; lanes * (lanes + 5)];
                let mut rest = vec![-1.0; 4 * MOST];
                // SAFETY: 4 N values are loaded, and N vectors that begin four values apart; the targets hold what is stored.
                let sum = unsafe {
                    move_about(
                        isa,
                        x.as_ptr(),
                        n,
                        fours.as_mut_ptr(),
                        back.as_mut_ptr(),
                        square.as_mut_ptr(),
                        rest.as_mut_ptr(),
                    )
                };
                for i in 0..lanes {
                    for j in 0..4 {
                        assert_eq!(fours[j * lanes + i], x[4 * i + j], "{isa:?}");
                    }
                    for j in 0..lanes {
                        assert_eq!(square[i * (lanes + 5) + j], x[4 * j + i], "{isa:?}");
                    }
                    let kept = (i < n).then_some(x[i]);
                    assert_eq!(rest[i], kept.unwrap_or(-1.0), "{isa:?}");
                    assert_eq!(rest[MOST + i], kept.unwrap_or(0.0), "{isa:?}");
                    let next = if i + 1 < lanes { x[i + 1] } else { -7.0 };
                    assert_eq!(rest[2 * MOST + i], next, "{isa:?}");
                    assert_eq!(rest[3 * MOST + i], x[i] / 8.0, "{isa:?}");
                }
                assert_eq!(back, x[..4 * lanes]);
                assert_eq!(sum, (lanes * (lanes + 1) / 2) as f32);
            }
        }
    }
}
