//! The passes over one map.

use crate::ops::simd::{MOST, kernel, load_up_to, store_up_to};

/// Values summed in f32, in two vectors, before the lanes go to f64.
const BLOCK: usize = 256;

kernel! {
    /// The sum of `n` values.
    pub(super) unsafe fn sum<L>(x: *const f32, n: usize) -> f64 {
        let (mut sum, mut i) = (0.0f64, 0);
        while i < n {
            let end = (i + BLOCK).min(n);
            let (mut a, mut b) = (L::zero(), L::zero());
            while i + 2 * L::N <= end {
                a = L::add(a, L::load(x.add(i)));
                b = L::add(b, L::load(x.add(i + L::N)));
                i += 2 * L::N;
            }
            if i < end {
                a = L::add(a, load_up_to::<L>(x.add(i), (end - i).min(L::N)));
            }
            if i + L::N < end {
                b = L::add(b, load_up_to::<L>(x.add(i + L::N), end - i - L::N));
            }
            i = end;
            let mut lanes = [0.0f32; 2 * MOST];
            L::store(lanes.as_mut_ptr(), a);
            L::store(lanes.as_mut_ptr().add(L::N), b);
            sum += lanes.iter().map(|v| f64::from(*v)).sum::<f64>();
        }
        sum
    }
}

kernel! {
    /// `y = scale * x + offset` over `n` values.
    pub(super) unsafe fn line<L>(x: *const f32, n: usize, scale: f32, offset: f32, y: *mut f32) {
        let (a, b) = (L::splat(scale), L::splat(offset));
        let mut i = 0;
        while i < n {
            let m = (n - i).min(L::N);
            store_up_to::<L>(y.add(i), m, L::fma(load_up_to::<L>(x.add(i), m), a, b));
            i += L::N;
        }
    }
}
