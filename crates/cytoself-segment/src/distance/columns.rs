//! The distance of every pixel, along its column, to the nearest pixel of the other kind.

/// Stands for "no such pixel"; far above any side of an image, and adding a side to it does not overflow.
pub(super) const NONE: i32 = i32::MAX / 2;

/// Distance in pixels from every pixel of `mask` to the nearest pixel of its column that is set where it is not, or the other way round.
pub(super) fn column_distances(mask: &[bool], width: usize) -> Vec<i32> {
    let height = mask.len() / width;
    let row = |y: usize| &mask[y * width..(y + 1) * width];
    let mut out = vec![NONE; mask.len()];
    let mut line = vec![NONE; width];
    for y in 1..height {
        step(&mut line, row(y - 1), row(y));
        out[y * width..(y + 1) * width].copy_from_slice(&line);
    }
    line.fill(NONE);
    for y in (0..height.saturating_sub(1)).rev() {
        step(&mut line, row(y + 1), row(y));
        for (out, &d) in out[y * width..(y + 1) * width].iter_mut().zip(&line) {
            *out = d.min(*out);
        }
    }
    out
}

/// One row further: the pixel before is one step away, or is itself of the other kind.
fn step(line: &mut [i32], before: &[bool], here: &[bool]) {
    for ((d, before), here) in line.iter_mut().zip(before).zip(here) {
        let on = (*d + 1).min(NONE);
        *d = if before == here { on } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_in_one_pass() {
        let mask = [true, false, true, true, false, false, true, false];
        assert_eq!(column_distances(&mask, 1), [1, 1, 1, 1, 1, 1, 1, 1]);
        let mask = [false, true, false, true, true, true, false, true];
        assert_eq!(
            column_distances(&mask, 2),
            [2, NONE, 1, NONE, 1, NONE, 1, NONE]
        );
    }
}
