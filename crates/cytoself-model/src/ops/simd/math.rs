//! Functions built from lanes.

use super::Lanes;

/// `exp(x)`, clamped to the finite range; about 2 units in the last place.
///
/// # References
/// The degree-6 polynomial and the two-part ln 2 are Cephes' `expf` (S. Moshier, netlib cephes/single).
#[inline(always)]
#[allow(clippy::excessive_precision)] // the coefficients as published
pub(crate) unsafe fn exp<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        // The clamp's argument order lets a NaN through in both variants.
        let x = L::min(L::splat(88.0), L::max(L::splat(-87.3), x));
        let n = L::round(L::mul(x, L::splat(std::f32::consts::LOG2_E)));
        let r = L::fnma(n, L::splat(0.693_359_375), x);
        let r = L::fnma(n, L::splat(-2.121_944_40e-4), r);
        let mut p = L::splat(1.987_569_150_0e-4);
        for c in [
            1.398_199_950_7e-3,
            8.333_451_907_3e-3,
            4.166_579_589_4e-2,
            1.666_666_545_9e-1,
            5.000_000_120_1e-1,
        ] {
            p = L::fma(p, r, L::splat(c));
        }
        let p = L::fma(L::mul(r, r), p, L::add(r, L::splat(1.0)));
        L::scale(p, n)
    }
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) unsafe fn sigmoid<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let one = L::splat(1.0);
        L::div(one, L::add(one, exp::<L>(L::sub(L::zero(), x))))
    }
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub(crate) unsafe fn silu<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe { L::mul(x, sigmoid::<L>(x)) }
}

/// The derivative of [`silu`].
#[inline(always)]
pub(crate) unsafe fn silu_slope<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (s, one) = (sigmoid::<L>(x), L::splat(1.0));
        L::mul(s, L::fma(x, L::sub(one, s), one))
    }
}
