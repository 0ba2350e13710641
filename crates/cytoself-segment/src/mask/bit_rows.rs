//! A mask with 64 pixels per word.

use ndarray::{Array2, ArrayView2};

const BITS: usize = u64::BITS as usize;

/// Rows of packed pixels; bits beyond the width are always zero.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct BitRows {
    height: usize,
    width: usize,
    words: usize,
    data: Vec<u64>,
}

impl BitRows {
    pub(super) fn pack(mask: ArrayView2<'_, bool>) -> Self {
        let (height, width) = mask.dim();
        let words = width.div_ceil(BITS);
        let mut data = vec![0_u64; height * words];
        for (y, row) in mask.outer_iter().enumerate() {
            for (x, &on) in row.iter().enumerate() {
                data[y * words + x / BITS] |= u64::from(on) << (x % BITS);
            }
        }
        Self {
            height,
            width,
            words,
            data,
        }
    }

    pub(super) fn unpack(&self) -> Array2<bool> {
        Array2::from_shape_fn((self.height, self.width), |(y, x)| {
            self.data[y * self.words + x / BITS] >> (x % BITS) & 1 == 1
        })
    }

    /// The complement inside the image.
    pub(super) fn complement(&self) -> Self {
        let mut out = self.clone();
        let used = self.width % BITS;
        for row in out.data.chunks_mut(self.words.max(1)) {
            row.iter_mut().for_each(|w| *w = !*w);
            if let (true, Some(last)) = (used > 0, row.last_mut()) {
                *last &= (1 << used) - 1;
            }
        }
        out
    }

    /// Every pixel that has a set pixel within `reach` columns in its row.
    pub(super) fn spread_along_rows(&self, reach: usize) -> Self {
        let mut out = self.clone();
        if reach == 0 || self.words == 0 {
            return out;
        }
        // A row shifted by 0..=2*reach towards larger columns, read `reach` columns further on.
        let wide_words = (self.width + 2 * reach).div_ceil(BITS);
        let mut wide = vec![0_u64; wide_words];
        for (source, target) in self
            .data
            .chunks(self.words)
            .zip(out.data.chunks_mut(self.words))
        {
            wide.fill(0);
            wide[..self.words].copy_from_slice(source);
            let mut covered = 1;
            while covered < 2 * reach + 1 {
                let step = covered.min(2 * reach + 1 - covered);
                or_shifted_up(&mut wide, step);
                covered += step;
            }
            read_shifted_down(&wide, reach, target);
            if !self.width.is_multiple_of(BITS) {
                target[self.words - 1] &= (1 << (self.width % BITS)) - 1;
            }
        }
        out
    }

    /// Joins row `y + shift` of `other` into every row `y`, for both signs of `shift`.
    pub(super) fn join_rows(&mut self, other: &Self, shift: usize) {
        for y in 0..self.height.saturating_sub(shift) {
            self.join_row(y, other, y + shift);
            self.join_row(y + shift, other, y);
        }
    }

    fn join_row(&mut self, y: usize, other: &Self, from: usize) {
        let target = &mut self.data[y * self.words..(y + 1) * self.words];
        for (t, s) in target.iter_mut().zip(&other.data[from * self.words..]) {
            *t |= s;
        }
    }

    pub(super) fn empty_like(&self) -> Self {
        Self {
            data: vec![0; self.data.len()],
            ..*self
        }
    }
}

fn or_shifted_up(row: &mut [u64], by: usize) {
    let (words, bits) = (by / BITS, by % BITS);
    for i in (words..row.len()).rev() {
        let mut value = row[i - words] << bits;
        if bits > 0 && i > words {
            value |= row[i - words - 1] >> (BITS - bits);
        }
        row[i] |= value;
    }
}

fn read_shifted_down(row: &[u64], by: usize, out: &mut [u64]) {
    let (words, bits) = (by / BITS, by % BITS);
    for (i, value) in out.iter_mut().enumerate() {
        let low = row.get(i + words).copied().unwrap_or(0) >> bits;
        let high = if bits > 0 {
            row.get(i + words + 1).copied().unwrap_or(0) << (BITS - bits)
        } else {
            0
        };
        *value = low | high;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_is_reversible_and_complement_stays_inside() {
        let mask = Array2::from_shape_fn((5, 131), |(y, x)| (y * 7 + x * 3) % 5 == 0);
        let bits = BitRows::pack(mask.view());
        assert_eq!(bits.unpack(), mask);
        assert_eq!(bits.complement().unpack(), mask.mapv(|v| !v));
        assert_eq!(bits.complement().complement(), bits);
    }

    #[test]
    fn spreading_crosses_words() {
        for reach in [1, 3, 40, 63, 64, 70, 200] {
            let mut mask = Array2::from_elem((1, 150), false);
            mask[[0, 64]] = true;
            mask[[0, 149]] = true;
            let out = BitRows::pack(mask.view()).spread_along_rows(reach).unpack();
            for x in 0..150_usize {
                assert_eq!(
                    out[[0, x]],
                    x.abs_diff(64) <= reach || x.abs_diff(149) <= reach,
                    "{reach} {x}"
                );
            }
        }
    }
}
