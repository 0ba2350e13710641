//! The passes over one map.

use super::Activation;
use crate::ops::simd::math::{silu, silu_slope};
use crate::ops::simd::{kernel, load_up_to, store_up_to};

/// Values summed in f32 before a partial sum goes to f64.
const BLOCK: usize = 4096;

/// Vectors that are normalised side by side.
const TOGETHER: usize = 3;

kernel! {
    /// The sums of `x - shift` and of its square over `n` values.
    pub(super) unsafe fn sums<L>(x: *const f32, n: usize, shift: f32) -> [f64; 2] {
        let (mut sum, mut square, k) = (0.0f64, 0.0f64, L::splat(shift));
        let mut i = 0;
        while i < n {
            let end = (i + BLOCK).min(n);
            let (mut a, mut b) = ([L::zero(); 2], [L::zero(); 2]);
            while i + 2 * L::N <= end {
                for t in 0..2 {
                    let v = L::sub(L::load(x.add(i + t * L::N)), k);
                    a[t] = L::add(a[t], v);
                    b[t] = L::fma(v, v, b[t]);
                }
                i += 2 * L::N;
            }
            sum += f64::from(L::sum(L::add(a[0], a[1])));
            square += f64::from(L::sum(L::add(b[0], b[1])));
            while i < end {
                let v = f64::from(*x.add(i) - shift);
                sum += v;
                square += v * v;
                i += 1;
            }
        }
        [sum, square]
    }
}

kernel! {
    /// `y = act(x * scale + offset + residual)` over `n` values; `residual` may be null.
    pub(super) unsafe fn normalize<L>(x: *const f32, n: usize, scale: f32, offset: f32, residual: *const f32, act: Activation, y: *mut f32) {
        let (a, b) = (L::splat(scale), L::splat(offset));
        let mut i = 0;
        while i + TOGETHER * L::N <= n {
            let mut t = [a; TOGETHER];
            for u in 0..TOGETHER {
                t[u] = L::fma(L::load(x.add(i + u * L::N)), a, b);
                if !residual.is_null() {
                    t[u] = L::add(t[u], L::load(residual.add(i + u * L::N)));
                }
            }
            if act == Activation::Silu {
                t = silu::<L, TOGETHER>(t);
            }
            for u in 0..TOGETHER {
                L::store(y.add(i + u * L::N), t[u]);
            }
            i += TOGETHER * L::N;
        }
        while i < n {
            let m = (n - i).min(L::N);
            let mut t = [L::fma(load_up_to::<L>(x.add(i), m), a, b)];
            if !residual.is_null() {
                t[0] = L::add(t[0], load_up_to::<L>(residual.add(i), m));
            }
            if act == Activation::Silu {
                t = silu::<L, 1>(t);
            }
            store_up_to::<L>(y.add(i), m, t[0]);
            i += L::N;
        }
    }
}

kernel! {
    /// First pass backward: writes `g = dy * act'(x * scale + offset + residual)` and sums `g` and `g * (x - mean)`.
    pub(super) unsafe fn slopes<L>(
        x: *const f32, dy: *const f32, n: usize, mean: f32, scale: f32, offset: f32, residual: *const f32, act: Activation, g: *mut f32,
    ) -> [f64; 2] {
        let (a, b, mu) = (L::splat(scale), L::splat(offset), L::splat(mean));
        let (mut sum, mut product) = (0.0f64, 0.0f64);
        let mut i = 0;
        while i < n {
            let end = (i + BLOCK).min(n);
            let (mut s, mut q) = (L::zero(), L::zero());
            while i + TOGETHER * L::N <= end {
                let (mut v, mut d) = ([a; TOGETHER], [a; TOGETHER]);
                for u in 0..TOGETHER {
                    v[u] = L::load(x.add(i + u * L::N));
                    d[u] = L::load(dy.add(i + u * L::N));
                }
                if act == Activation::Silu {
                    let mut t = v;
                    for u in 0..TOGETHER {
                        t[u] = L::fma(v[u], a, b);
                        if !residual.is_null() {
                            t[u] = L::add(t[u], L::load(residual.add(i + u * L::N)));
                        }
                    }
                    t = silu_slope::<L, TOGETHER>(t);
                    for u in 0..TOGETHER {
                        d[u] = L::mul(d[u], t[u]);
                    }
                }
                for u in 0..TOGETHER {
                    L::store(g.add(i + u * L::N), d[u]);
                    s = L::add(s, d[u]);
                    q = L::fma(d[u], L::sub(v[u], mu), q);
                }
                i += TOGETHER * L::N;
            }
            while i < end {
                let m = (end - i).min(L::N);
                let v = load_up_to::<L>(x.add(i), m);
                let mut d = load_up_to::<L>(dy.add(i), m);
                if act == Activation::Silu {
                    let mut t = L::fma(v, a, b);
                    if !residual.is_null() {
                        t = L::add(t, load_up_to::<L>(residual.add(i), m));
                    }
                    let [slope] = silu_slope::<L, 1>([t]);
                    d = L::mul(d, slope);
                }
                store_up_to::<L>(g.add(i), m, d);
                s = L::add(s, d); // lanes beyond the end hold dy = 0
                q = L::fma(d, L::sub(v, mu), q);
                i += L::N;
            }
            i = end;
            sum += f64::from(L::sum(s));
            product += f64::from(L::sum(q));
        }
        [sum, product]
    }
}

kernel! {
    /// Second pass backward: `dx = a * g + b * x + c`; `dx` may be `g`.
    pub(super) unsafe fn combine<L>(x: *const f32, g: *const f32, n: usize, a: f32, b: f32, c: f32, dx: *mut f32) {
        let (a, b, c) = (L::splat(a), L::splat(b), L::splat(c));
        let mut i = 0;
        while i < n {
            let m = (n - i).min(L::N);
            let t = L::fma(load_up_to::<L>(x.add(i), m), b, c);
            store_up_to::<L>(dx.add(i), m, L::fma(load_up_to::<L>(g.add(i), m), a, t));
            i += L::N;
        }
    }
}
