//! Lanes of plain Rust, for processors without a variant of their own.

use super::Lanes;

/// Lanes.
const N: usize = 8;

/// Plain Rust arrays that the compiler turns into whatever vectors the target has.
pub(crate) struct Portable;

#[inline(always)]
fn map(a: [f32; N], f: impl Fn(f32) -> f32) -> [f32; N] {
    std::array::from_fn(|i| f(a[i]))
}

#[inline(always)]
fn zip(a: [f32; N], b: [f32; N], f: impl Fn(f32, f32) -> f32) -> [f32; N] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

// SAFETY (all): the trait asks the caller for valid pointers; no special instruction is used.
#[allow(clippy::undocumented_unsafe_blocks)] // stated once above
impl Lanes for Portable {
    const N: usize = N;
    type V = [f32; N];
    #[inline(always)]
    unsafe fn zero() -> [f32; N] {
        [0.0; N]
    }
    #[inline(always)]
    unsafe fn splat(a: f32) -> [f32; N] {
        [a; N]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; N] {
        unsafe { p.cast::<[f32; N]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, a: [f32; N]) {
        unsafe { p.cast::<[f32; N]>().write_unaligned(a) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> [f32; N] {
        let mut a = [0.0; N];
        for (i, v) in a.iter_mut().enumerate().take(n) {
            *v = unsafe { *p.add(i) };
        }
        a
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, n: usize, a: [f32; N]) {
        for (i, v) in a.iter().enumerate().take(n) {
            unsafe { *p.add(i) = *v };
        }
    }
    #[inline(always)]
    unsafe fn add(a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn min(a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn max(a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn sqrt(a: [f32; N]) -> [f32; N] {
        map(a, f32::sqrt)
    }
    // `mul_add` would call libm on a target without FMA.
    #[inline(always)]
    unsafe fn fma(a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn fnma(a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        std::array::from_fn(|i| c[i] - a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn add_exponent(a: [f32; N], n: [f32; N]) -> [f32; N] {
        zip(a, n, |a, n| {
            f32::from_bits(a.to_bits().wrapping_add(n.to_bits() << 23))
        })
    }
    #[inline(always)]
    unsafe fn load_fours(p: *const f32) -> [[f32; N]; 4] {
        let values = unsafe { p.cast::<[f32; 4 * N]>().read_unaligned() };
        std::array::from_fn(|j| std::array::from_fn(|t| values[4 * t + j]))
    }
    #[inline(always)]
    unsafe fn store_fours(p: *mut f32, a: [[f32; N]; 4]) {
        let values: [f32; 4 * N] = std::array::from_fn(|i| a[i % 4][i / 4]);
        unsafe { p.cast::<[f32; 4 * N]>().write_unaligned(values) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, step: usize, mut to: impl FnMut(usize) -> *mut f32) {
        for i in 0..N {
            let column = std::array::from_fn(|j| unsafe { *from.add(j * step + i) });
            unsafe { Self::store(to(i), column) };
        }
    }
    #[inline(always)]
    unsafe fn shift(a: [f32; N], last: f32) -> [f32; N] {
        std::array::from_fn(|i| if i + 1 < N { a[i + 1] } else { last })
    }
    #[inline(always)]
    unsafe fn sum(a: [f32; N]) -> f32 {
        let q = [a[0] + a[4], a[1] + a[5], a[2] + a[6], a[3] + a[7]];
        (q[0] + q[2]) + (q[1] + q[3])
    }
}
