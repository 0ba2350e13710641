//! Functions built from lanes.

use super::Lanes;

/// 1.5 * 2^23: added to a number below 2^22, it leaves the nearest integer in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// `2^f` for `f` in -0.5..=0.5 within 2.2e-7, highest power first: of all polynomials of this degree the one with the smallest largest
/// relative error, up to the rounding of its coefficients.
const POWER: [f32; 6] = [
    1.327_647_2e-3,
    9.675_542e-3,
    5.550_713e-2,
    0.240_221_2,
    0.693_146_94,
    1.0,
];

/// Where `x` stops: the exponential beyond it would leave the normal numbers, and makes no difference.
const LIMIT: f32 = 86.0;

/// `x`, but at least -86, and `1 + exp(-x)`, of `U` vectors, which the processor computes side by side. The exponential is within 1e-6
/// from -10 to 10 and within 5e-6 beyond up to 86, where that of 86 or -86 stands for the rest. A NaN stays one in the first.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // closures would lose the instruction set
unsafe fn one_plus_exp_minus<L: Lanes, const U: usize>(mut x: [L::V; U]) -> ([L::V; U], [L::V; U]) {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (log2e, round) = (L::splat(std::f32::consts::LOG2_E), L::splat(ROUND));
        let (mut n, mut f, mut p) = (x, x, x);
        for u in 0..U {
            x[u] = L::max(L::splat(-LIMIT), x[u]);
            let x = L::min(L::splat(LIMIT), x[u]);
            n[u] = L::fnma(x, log2e, round);
            f[u] = L::fnma(x, log2e, L::sub(round, n[u]));
            p[u] = L::splat(POWER[0]);
        }
        for c in &POWER[1..] {
            for u in 0..U {
                p[u] = L::fma(p[u], f[u], L::splat(*c));
            }
        }
        for u in 0..U {
            p[u] = L::add(L::splat(1.0), L::add_exponent(p[u], n[u]));
        }
        (x, p)
    }
}

/// `x / (1 + exp(-x))`; a NaN stays one, and minus infinity gives -4e-36, where the function tends to 0.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // as above
pub(crate) unsafe fn silu<L: Lanes, const U: usize>(x: [L::V; U]) -> [L::V; U] {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (x, mut s) = one_plus_exp_minus::<L, U>(x);
        for u in 0..U {
            s[u] = L::div(x[u], s[u]);
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
        let ((x, mut s), one) = (one_plus_exp_minus::<L, U>(x), L::splat(1.0));
        for u in 0..U {
            s[u] = L::div(one, s[u]);
            s[u] = L::mul(s[u], L::fma(x[u], L::sub(one, s[u]), one));
        }
        s
    }
}

/// `1 / (1 + exp(-x))`; a NaN stays one.
#[inline(always)]
pub(crate) unsafe fn sigmoid<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let ([x], [s]) = one_plus_exp_minus::<L, 1>([x]);
        // One, unless `x` is no number.
        let one = L::fma(L::min(L::splat(LIMIT), x), L::zero(), L::splat(1.0));
        L::div(one, s)
    }
}
