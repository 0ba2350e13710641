//! The blocked product of vectors and codes with the running maximum, and if wanted the exponentials, fused in.

use super::exp::exp;
use super::lanes::Lanes;
use super::panels::Panels;
use super::tiles::Tiles;

/// Codes that stay in the first-level cache while all tiles of a task pass by.
const CODE_BLOCK_BYTES: usize = 20 * 1024;

/// Scores every tile against every code; leaves the best and second-best score and the best index in `tiles`.
///
/// # Safety
/// The instruction set of `V` is enabled; `panels.width == C`, `tiles.width == 2 * V::WIDTH` and the dimensions agree.
#[inline(always)]
pub(super) unsafe fn search<V: Lanes, const C: usize>(tiles: &mut Tiles, panels: &Panels) {
    debug_assert!(panels.width == C && tiles.width == 2 * V::WIDTH && tiles.dim == panels.dim);
    let dim = panels.dim;
    let block = (CODE_BLOCK_BYTES / (4 * C * dim)).max(1);
    let mut first = 0;
    while first < panels.count() {
        let last = (first + block).min(panels.count());
        for tile in 0..tiles.count() {
            // SAFETY: by the caller's contract; `tile` and `first..last` are in range.
            unsafe { search_block::<V, C>(tiles, tile, panels, first, last, &mut Nothing) };
        }
        first = last;
    }
}

/// What else becomes of the scores of a tile.
pub(super) trait Visit<V, const C: usize> {
    /// # Safety
    /// The instruction set of `V` is enabled; `scores` are those of `panel`.
    unsafe fn panel(&mut self, panel: usize, scores: &[[V; 2]; C]);
}

/// Nothing.
struct Nothing;

impl<V, const C: usize> Visit<V, C> for Nothing {
    #[inline(always)]
    unsafe fn panel(&mut self, _: usize, _: &[[V; 2]; C]) {}
}

/// Writes `e^(2 score + shift)` for every code and sums it up.
struct Weights<'a, V> {
    /// `[panels * C, 2 * V::WIDTH]`.
    out: &'a mut [f32],
    shift: [V; 2],
    sums: [V; 2],
}

impl<V: Lanes, const C: usize> Visit<V, C> for Weights<'_, V> {
    #[inline(always)]
    unsafe fn panel(&mut self, panel: usize, scores: &[[V; 2]; C]) {
        let width = 2 * V::WIDTH;
        debug_assert!(self.out.len() >= (panel + 1) * C * width);
        // SAFETY: by the contract; `out` has room for every panel.
        unsafe {
            let two = V::splat(2.0);
            for (c, score) in scores.iter().enumerate() {
                let to = self.out.as_mut_ptr().add((panel * C + c) * width);
                for (h, score) in score.iter().enumerate() {
                    let weight = exp(score.mul_add(two, self.shift[h]));
                    weight.store(to.add(h * V::WIDTH));
                    self.sums[h] = self.sums[h].add(weight);
                }
            }
        }
    }
}

/// Panels whose weights are summed in `f32` before the sum goes on in `f64`.
const PANELS_PER_SUM: usize = 10;

/// Does for the first tile what [`search`] does and weighs every code on the way: `out: [panels * C, 2 * V::WIDTH]` are
/// `e^(2 score + shift)`, within the bounds of [`exp`], and `sums: [2 * V::WIDTH]` their sums.
///
/// # Safety
/// As [`search`]; the slices are as long as that.
#[inline(always)]
pub(super) unsafe fn weigh<V: Lanes, const C: usize>(
    tiles: &mut Tiles,
    panels: &Panels,
    shift: &[f32],
    out: &mut [f32],
    sums: &mut [f64],
) {
    let width = 2 * V::WIDTH;
    debug_assert!(panels.width == C && tiles.width == width && tiles.count() > 0);
    debug_assert!(out.len() == panels.count() * C * width);
    debug_assert!(shift.len() == width && sums.len() == width);
    sums.fill(0.0);
    let mut part = [0.0f32; MOST_LANES];
    // SAFETY: by the caller's contract; `shift` and `part` have room for two registers.
    let shift = unsafe {
        [
            V::load(shift.as_ptr()),
            V::load(shift.as_ptr().add(V::WIDTH)),
        ]
    };
    for first in (0..panels.count()).step_by(PANELS_PER_SUM) {
        let last = (first + PANELS_PER_SUM).min(panels.count());
        // SAFETY: as above; the first tile and these panels are there.
        unsafe {
            let mut weights = Weights {
                out,
                shift,
                sums: [V::splat(0.0); 2],
            };
            search_block::<V, C>(tiles, 0, panels, first, last, &mut weights);
            weights.sums[0].store(part.as_mut_ptr());
            weights.sums[1].store(part.as_mut_ptr().add(V::WIDTH));
        }
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += f64::from(part);
        }
    }
}

/// Lanes of the widest tile.
pub(super) const MOST_LANES: usize = 32;

/// One tile against the panels `first..last`.
///
/// # Safety
/// As [`search`]; `tile` and the panels are in range.
#[inline(always)]
unsafe fn search_block<V: Lanes, const C: usize>(
    tiles: &mut Tiles,
    tile: usize,
    panels: &Panels,
    first: usize,
    last: usize,
    visit: &mut impl Visit<V, C>,
) {
    let (dim, width) = (panels.dim, 2 * V::WIDTH);
    let at = tile * width;
    // SAFETY: each state array has `width` values from `at`, each tile `dim * width` values, each panel `dim * C`.
    unsafe {
        let values = tiles.values().as_ptr().add(at * dim);
        let pair = |p: *const f32| [V::load(p), V::load(p.add(V::WIDTH))];
        let mut best = pair(tiles.best.as_ptr().add(at));
        let mut second = pair(tiles.second.as_ptr().add(at));
        let mut index = pair(tiles.index.as_ptr().add(at));
        let slack = pair(tiles.slack.as_ptr().add(at));
        let mut bar = [best[0].sub(slack[0]), best[1].sub(slack[1])];
        for panel in first..last {
            let codes = panels.codes.as_ptr().add(panel * dim * C);
            let scores = scores::<V, C>(
                values,
                codes,
                panels.half_norms.as_ptr().add(panel * C),
                dim,
            );
            visit.panel(panel, &scores);
            let mut top = scores[0];
            for score in &scores[1..] {
                top = [top[0].max(score[0]), top[1].max(score[1])];
            }
            // A code below the bar can neither win nor be mistaken for the winner; after the first panels nearly all are.
            if top[0].any_gt(bar[0]) | top[1].any_gt(bar[1]) {
                for (c, score) in scores.iter().enumerate() {
                    let code = V::splat(f32::from_bits((panel * C + c) as u32));
                    for h in 0..2 {
                        second[h] = second[h].max(best[h].min(score[h]));
                        index[h] = score[h].select_gt(best[h], code, index[h]);
                        best[h] = best[h].max(score[h]);
                    }
                }
                bar = [best[0].sub(slack[0]), best[1].sub(slack[1])];
            }
        }
        for h in 0..2 {
            best[h].store(tiles.best.as_mut_ptr().add(at + h * V::WIDTH));
            second[h].store(tiles.second.as_mut_ptr().add(at + h * V::WIDTH));
            index[h].store(tiles.index.as_mut_ptr().add(at + h * V::WIDTH));
        }
    }
}

/// `z.c - |c|^2 / 2` of one tile and one panel.
///
/// # Safety
/// As [`search_block`]; `values: [dim, 2 * V::WIDTH]`, `codes: [dim, C]`, `half_norms: [C]`.
#[inline(always)]
unsafe fn scores<V: Lanes, const C: usize>(
    values: *const f32,
    codes: *const f32,
    half_norms: *const f32,
    dim: usize,
) -> [[V; 2]; C] {
    // SAFETY: all offsets stay within the shapes above.
    unsafe {
        let mut sums: [[V; 2]; C] = std::array::from_fn(|c| [V::splat(*half_norms.add(c)); 2]);
        for i in 0..dim {
            let z = values.add(i * 2 * V::WIDTH);
            let (low, high) = (V::load(z), V::load(z.add(V::WIDTH)));
            for (c, sum) in sums.iter_mut().enumerate() {
                let code = V::splat(*codes.add(i * C + c));
                *sum = [low.mul_add(code, sum[0]), high.mul_add(code, sum[1])];
            }
        }
        sums
    }
}
