//! Functions built from lanes.

use super::Lanes;

/// `exp(x)` of `U` vectors, which the processor computes side by side, clamped to the finite range; about 2 units in the last place.
///
/// # References
/// The degree-6 polynomial and the two-part ln 2 are Cephes' `expf` (S. Moshier, netlib cephes/single).
#[inline(always)]
#[allow(clippy::needless_range_loop)] // closures would lose the instruction set
#[allow(clippy::excessive_precision)] // the coefficients as published
pub(crate) unsafe fn exp<L: Lanes, const U: usize>(x: [L::V; U]) -> [L::V; U] {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (mut n, mut r, mut p) = (x, x, x);
        for u in 0..U {
            // The clamp's argument order lets a NaN through in both variants.
            let x = L::min(L::splat(88.0), L::max(L::splat(-87.3), x[u]));
            n[u] = L::round(L::mul(x, L::splat(std::f32::consts::LOG2_E)));
            r[u] = L::fnma(n[u], L::splat(0.693_359_375), x);
            r[u] = L::fnma(n[u], L::splat(-2.121_944_40e-4), r[u]);
            p[u] = L::splat(1.987_569_150_0e-4);
        }
        for c in [
            1.398_199_950_7e-3,
            8.333_451_907_3e-3,
            4.166_579_589_4e-2,
            1.666_666_545_9e-1,
            5.000_000_120_1e-1,
        ] {
            for u in 0..U {
                p[u] = L::fma(p[u], r[u], L::splat(c));
            }
        }
        for u in 0..U {
            p[u] = L::fma(L::mul(r[u], r[u]), p[u], L::add(r[u], L::splat(1.0)));
            p[u] = L::scale(p[u], n[u]);
        }
        p
    }
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // as above
pub(crate) unsafe fn sigmoid<L: Lanes, const U: usize>(x: [L::V; U]) -> [L::V; U] {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (one, mut s) = (L::splat(1.0), x);
        for u in 0..U {
            s[u] = L::sub(L::zero(), x[u]);
        }
        s = exp::<L, U>(s);
        for u in 0..U {
            s[u] = L::div(one, L::add(one, s[u]));
        }
        s
    }
}

/// `x * sigmoid(x)`.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // as above
pub(crate) unsafe fn silu<L: Lanes, const U: usize>(x: [L::V; U]) -> [L::V; U] {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let mut s = sigmoid::<L, U>(x);
        for u in 0..U {
            s[u] = L::mul(x[u], s[u]);
        }
        s
    }
}

/// The derivative of [`silu`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // as above
pub(crate) unsafe fn silu_slope<L: Lanes, const U: usize>(x: [L::V; U]) -> [L::V; U] {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (mut s, one) = (sigmoid::<L, U>(x), L::splat(1.0));
        for u in 0..U {
            s[u] = L::mul(s[u], L::fma(x[u], L::sub(one, s[u]), one));
        }
        s
    }
}
