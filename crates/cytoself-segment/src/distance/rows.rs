//! From the distances along columns to those in the plane, one row at a time.

use super::envelope::Envelope;

/// Pixels that are searched together.
const BLOCK: usize = 32;
/// How far along a row the search looks before the envelope takes over. Up to about there it is the faster of the two.
const REACH: usize = 128;
/// Distances along a column are cut here, so that their squares fit; far above `REACH`, so nothing below it changes.
const CUT: i32 = 30_000;
/// Stands for a squared distance that the search did not find.
const FAR: f64 = -1.0;

/// Which pixels get their distance to the nearest pixel of the other kind.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sides {
    /// Those that are set.
    Set,
    /// All.
    Both,
}

/// Squared distances of one row; buffers are kept between rows.
///
/// Every pixel looks at its neighbours in the row, nearest first, until they are farther than what it has found: many
/// pixels at once, without a branch that depends on one of them. A run of pixels where the nearest of the other kind is farther
/// than `REACH` goes through the lower envelope of parabolas, which takes the same time at any distance.
pub(super) struct Rows {
    /// Squared distances along the columns, 0 where the pixel is of the other kind, with a margin of `REACH` and a block.
    columns: Vec<i32>,
    /// For the envelope.
    wide: Vec<f64>,
    kind: Vec<bool>,
    envelope: Envelope,
}

impl Rows {
    pub(super) fn new(width: usize) -> Self {
        Self {
            columns: vec![CUT * CUT; width.next_multiple_of(BLOCK) + 2 * REACH],
            wide: vec![0.0; width],
            kind: vec![false; width],
            envelope: Envelope::new(width),
        }
    }

    /// Squared distances of the row's pixels; 0 for those of a kind that is not asked for.
    pub(super) fn squared(
        &mut self,
        mask: &[bool],
        columns: &[i32],
        sides: Sides,
        out: &mut [f64],
    ) {
        out.fill(0.0);
        let near = |d: i32| d.min(CUT).pow(2);
        for set in [true, false] {
            if !(set || sides == Sides::Both) || !mask.contains(&set) {
                continue;
            }
            for ((cell, &d), &on) in self.columns[REACH..].iter_mut().zip(columns).zip(mask) {
                *cell = if on == set { near(d) } else { 0 };
            }
            if !search(&self.columns, mask, set, out) {
                self.by_envelope(mask, columns, set, out, |run| run.contains(&FAR));
            }
        }
    }

    /// The same by the lower envelope, for the runs of one kind that are `wanted`.
    ///
    /// Run by run: a pixel of the other kind at the end of a run hides all that lies beyond it.
    fn by_envelope(
        &mut self,
        mask: &[bool],
        columns: &[i32],
        set: bool,
        out: &mut [f64],
        wanted: impl Fn(&[f64]) -> bool,
    ) {
        for (i, (&d, &on)) in columns.iter().zip(mask).enumerate() {
            self.kind[i] = on == set;
            self.wide[i] = if on == set { f64::from(d).powi(2) } else { 0.0 };
        }
        let mut x = 0;
        while let Some(start) = self.kind[x..].iter().position(|&on| on).map(|i| x + i) {
            let end = self.kind[start..].iter().position(|&on| !on);
            let end = end.map_or(mask.len(), |i| start + i);
            x = end;
            if wanted(&out[start..end]) {
                let reach = start.saturating_sub(1)..(end + 1).min(mask.len());
                self.envelope.lower(&mut self.wide[reach]);
                out[start..end].copy_from_slice(&self.wide[start..end]);
            }
        }
    }
}

/// Writes the squared distances of the pixels of one kind; `false` if one of them is beyond `REACH`, where `FAR` is written.
fn search(columns: &[i32], mask: &[bool], set: bool, out: &mut [f64]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, checked in the line above.
        return unsafe { avx2(columns, mask, set, out) };
    }
    portable(columns, mask, set, out)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(columns: &[i32], mask: &[bool], set: bool, out: &mut [f64]) -> bool {
    portable(columns, mask, set, out)
}

#[inline(always)]
fn portable(columns: &[i32], mask: &[bool], set: bool, out: &mut [f64]) -> bool {
    let mut all = true;
    for (block, (mask, out)) in mask.chunks(BLOCK).zip(out.chunks_mut(BLOCK)).enumerate() {
        if !mask.contains(&set) {
            continue;
        }
        let start = REACH + block * BLOCK;
        let window = &columns[start - REACH..start + BLOCK + REACH];
        let found = nearest(window, mask.len());
        all &= found.is_some();
        let squared = found.unwrap_or([FAR as i32; BLOCK]);
        for ((out, &on), &squared) in out.iter_mut().zip(mask).zip(&squared) {
            if on == set {
                *out = f64::from(squared);
            }
        }
    }
    all
}

/// The minimum over `k` of `window[i +- k] + k^2` for the first `count` cells of the block in the middle of the window.
#[inline(always)]
fn nearest(window: &[i32], count: usize) -> Option<[i32; BLOCK]> {
    let at = |offset: usize| window[offset..].first_chunk::<BLOCK>();
    let mut best = *at(REACH)?;
    best[count..].fill(0);
    let mut k = 0;
    loop {
        let farthest = best.iter().fold(0, |a, &b| if b > a { b } else { a });
        if (k * k) as i32 >= farthest {
            return Some(best);
        }
        if k == REACH {
            return None;
        }
        // A few at a time: the check above costs as much as one of them.
        for _ in 0..4 {
            k += 1;
            let (left, right, square) = (at(REACH - k)?, at(REACH + k)?, (k * k) as i32);
            for i in 0..BLOCK {
                let side = if left[i] < right[i] {
                    left[i]
                } else {
                    right[i]
                };
                let candidate = side + square;
                best[i] = if candidate < best[i] {
                    candidate
                } else {
                    best[i]
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_and_envelope_agree() {
        let width = 157;
        let columns: Vec<i32> = (0..width).map(|i| 1 + (i * i * 7 % 61)).collect();
        let mask: Vec<bool> = (0..width).map(|i| i % 50 > 3 && i != 77).collect();
        let mut rows = Rows::new(mask.len());
        let (mut fast, mut slow) = (vec![0.0; mask.len()], vec![0.0; mask.len()]);
        rows.squared(&mask, &columns, Sides::Both, &mut fast);
        rows.by_envelope(&mask, &columns, true, &mut slow, |_| true);
        rows.by_envelope(&mask, &columns, false, &mut slow, |_| true);
        assert_eq!(fast, slow);
        let mut portable_only = vec![0.0; mask.len()];
        for set in [true, false] {
            for ((cell, &d), &on) in rows.columns[REACH..].iter_mut().zip(&columns).zip(&mask) {
                *cell = if on == set { d * d } else { 0 };
            }
            assert!(portable(&rows.columns, &mask, set, &mut portable_only));
        }
        assert_eq!(fast, portable_only);
    }
}
