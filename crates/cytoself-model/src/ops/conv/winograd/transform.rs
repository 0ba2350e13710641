//! The transforms of tiles, a vector of them at a time.
//!
//! With the matrices of Lavin and Gray (arXiv:1509.09308, section 4.3) a tile's output is `A^T ((G g G^T) * (B^T d B)) A`; the
//! gradient of the weights is the adjoint, `G^T ((A dy A^T) * (B^T d B)) G`.

use crate::ops::simd::{Lanes, MOST, kernel, store_up_to};

/// Values of a transformed tile.
pub(super) const POINTS: usize = 36;

/// `B^T d`.
#[inline(always)]
unsafe fn input_axis<L: Lanes>(d: [L::V; 6]) -> [L::V; 6] {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (two, four, five) = (L::splat(2.0), L::splat(4.0), L::splat(5.0));
        let (a, b) = (L::fnma(d[2], four, d[4]), L::fnma(d[1], four, d[3]));
        let (c, e) = (L::sub(d[4], d[2]), L::sub(d[3], d[1]));
        [
            L::fma(d[0], four, L::fnma(d[2], five, d[4])),
            L::add(a, b),
            L::sub(a, b),
            L::fma(e, two, c),
            L::fnma(e, two, c),
            L::fma(d[1], four, L::fnma(d[3], five, d[5])),
        ]
    }
}

/// `G g`.
#[inline(always)]
pub(super) unsafe fn kernel_axis<L: Lanes>(g: [L::V; 3]) -> [L::V; 6] {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (sixth, twelfth) = (L::splat(1.0 / 6.0), L::splat(1.0 / 12.0));
        let (sum, middle) = (L::mul(L::add(g[0], g[2]), sixth), L::mul(g[1], sixth));
        let (even, odd) = (
            L::fma(g[0], L::splat(1.0 / 24.0), L::mul(g[2], sixth)),
            L::mul(g[1], twelfth),
        );
        [
            L::mul(g[0], L::splat(0.25)),
            L::sub(L::zero(), L::add(sum, middle)),
            L::sub(middle, sum),
            L::add(even, odd),
            L::sub(even, odd),
            g[2],
        ]
    }
}

/// `A^T m`.
#[inline(always)]
unsafe fn output_axis<L: Lanes>(m: [L::V; 6]) -> [L::V; 4] {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (two, four, eight) = (L::splat(2.0), L::splat(4.0), L::splat(8.0));
        let (a, b) = (L::add(m[1], m[2]), L::sub(m[1], m[2]));
        let (c, d) = (L::add(m[3], m[4]), L::sub(m[3], m[4]));
        [
            L::add(L::add(m[0], a), c),
            L::fma(d, two, b),
            L::fma(c, four, a),
            L::add(L::fma(d, eight, b), m[5]),
        ]
    }
}

/// `A y`.
#[inline(always)]
unsafe fn gradient_axis<L: Lanes>(y: [L::V; 4]) -> [L::V; 6] {
    // SAFETY: arithmetic only; the caller vouches for the instructions.
    unsafe {
        let (two, four, eight) = (L::splat(2.0), L::splat(4.0), L::splat(8.0));
        let (even, odd) = (L::add(y[0], y[2]), L::add(y[1], y[3]));
        let (even2, odd2) = (
            L::fma(y[2], four, y[0]),
            L::fma(y[3], eight, L::mul(y[1], two)),
        );
        [
            y[0],
            L::add(even, odd),
            L::sub(even, odd),
            L::add(even2, odd2),
            L::sub(even2, odd2),
            y[3],
        ]
    }
}

kernel! {
    /// Copies `rows` rows of a map from `top - above` on to rows of `pitch` at `to`, shifted right by `left`, zeros outside up to `used`. Writes whole
    /// vectors: up to a vector less one value past `used`.
    pub(super) unsafe fn pad<L>(map: *const f32, height: usize, width: usize, top: usize, above: usize, left: usize, rows: usize, to: *mut f32, pitch: usize, used: usize) {
        for i in 0..rows {
            let to = to.add(i * pitch);
            let mut j = 0;
            if top + i >= above && top + i - above < height {
                let from = map.add((top + i - above) * width);
                L::store(to, L::zero());
                let to = to.add(left);
                while j + L::N <= width {
                    L::store(to.add(j), L::load(from.add(j)));
                    j += L::N;
                }
                if j < width {
                    L::store(to.add(j), L::load_part(from.add(j), width - j));
                    j += L::N;
                }
                j += left;
            }
            while j < used {
                L::store(to.add(j), L::zero());
                j += L::N;
            }
        }
    }
}

kernel! {
    /// Transforms a row of `tiles` input patches: 6 rows of `pitch` at `d`, value `k` of tile `i` to `v[k * plane + i]`. Writes whole
    /// vectors: up to a vector less one value past the last tile.
    pub(super) unsafe fn input<L>(d: *const f32, pitch: usize, tiles: usize, v: *mut f32, plane: usize) {
        let mut tile = 0;
        while tile < tiles {
            let mut rows = [[L::zero(); 6]; 6];
            let mut i = 0;
            while i < 6 {
                let p = d.add(i * pitch + 4 * tile);
                let [a, b, c, e] = L::load_fours(p);
                rows[i] = input_axis::<L>([a, b, c, e, L::shift(a, *p.add(4 * L::N)), L::shift(b, *p.add(4 * L::N + 1))]);
                i += 1;
            }
            let mut j = 0;
            while j < 6 {
                let column = input_axis::<L>([rows[0][j], rows[1][j], rows[2][j], rows[3][j], rows[4][j], rows[5][j]]);
                let mut i = 0;
                while i < 6 {
                    L::store(v.add((i * 6 + j) * plane + tile), column[i]);
                    i += 1;
                }
                j += 1;
            }
            tile += L::N;
        }
    }
}

kernel! {
    /// As [`input`] for 4x4 output gradients: 4 rows of `pitch` at `d`.
    pub(super) unsafe fn gradient<L>(d: *const f32, pitch: usize, tiles: usize, v: *mut f32, plane: usize) {
        let mut tile = 0;
        while tile < tiles {
            let mut rows = [[L::zero(); 6]; 4];
            let mut i = 0;
            while i < 4 {
                rows[i] = gradient_axis::<L>(L::load_fours(d.add(i * pitch + 4 * tile)));
                i += 1;
            }
            let mut j = 0;
            while j < 6 {
                let column = gradient_axis::<L>([rows[0][j], rows[1][j], rows[2][j], rows[3][j]]);
                let mut i = 0;
                while i < 6 {
                    L::store(v.add((i * 6 + j) * plane + tile), column[i]);
                    i += 1;
                }
                j += 1;
            }
            tile += L::N;
        }
    }
}

kernel! {
    /// Transforms a row of `tiles` products, value `k` of tile `i` at `m[k * plane + i]`, to `rows` rows of `width` outputs at `y`.
    pub(super) unsafe fn output<L>(m: *const f32, plane: usize, tiles: usize, y: *mut f32, width: usize, rows: usize) {
        let mut tile = 0;
        while tile < tiles {
            let mut half = [[L::zero(); 6]; 4];
            let mut j = 0;
            while j < 6 {
                let p = m.add(j * plane + tile);
                let column = [
                    L::load(p),
                    L::load(p.add(6 * plane)),
                    L::load(p.add(12 * plane)),
                    L::load(p.add(18 * plane)),
                    L::load(p.add(24 * plane)),
                    L::load(p.add(30 * plane)),
                ];
                let [a, b, c, e] = output_axis::<L>(column);
                half[0][j] = a;
                half[1][j] = b;
                half[2][j] = c;
                half[3][j] = e;
                j += 1;
            }
            let columns = (width - 4 * tile).min(4 * L::N);
            let mut i = 0;
            while i < rows {
                let values = output_axis::<L>(half[i]);
                let to = y.add(i * width + 4 * tile);
                if columns == 4 * L::N {
                    L::store_fours(to, values);
                } else {
                    let mut edge = [0f32; 4 * MOST];
                    L::store_fours(edge.as_mut_ptr(), values);
                    let mut j = 0;
                    while j < columns {
                        store_up_to::<L>(to.add(j), columns - j, L::load(edge.as_ptr().add(j)));
                        j += L::N;
                    }
                }
                i += 1;
            }
            tile += L::N;
        }
    }
}
