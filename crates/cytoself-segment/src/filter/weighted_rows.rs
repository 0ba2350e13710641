//! The inner loop of a symmetric filter, compiled for AVX2 and for the baseline of the target.

const BLOCK: usize = 32;

/// Writes `out[i] = weights[0] * centre[i] + sum_k weights[k] * (pairs[k - 1].0[i] + pairs[k - 1].1[i])`.
///
/// The terms are added from the outermost to the innermost, in every variant, so all variants give the same bits.
pub(super) fn weighted_rows(
    out: &mut [f64],
    centre: &[f64],
    pairs: &[(&[f64], &[f64])],
    weights: &[f64],
) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, checked in the line above.
        return unsafe { avx2(out, centre, pairs, weights) };
    }
    portable(out, centre, pairs, weights);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(out: &mut [f64], centre: &[f64], pairs: &[(&[f64], &[f64])], weights: &[f64]) {
    portable(out, centre, pairs, weights);
}

#[inline(always)]
fn portable(out: &mut [f64], centre: &[f64], pairs: &[(&[f64], &[f64])], weights: &[f64]) {
    let mut start = 0;
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    for block in blocks {
        let mut sum = scaled(&centre[start..start + BLOCK], weights[0]);
        for ((a, b), &weight) in pairs.iter().zip(&weights[1..]).rev() {
            let (a, b) = (&a[start..start + BLOCK], &b[start..start + BLOCK]);
            for i in 0..BLOCK {
                sum[i] += weight * (a[i] + b[i]);
            }
        }
        *block = sum;
        start += BLOCK;
    }
    for (i, value) in (start..).zip(rest) {
        *value = weights[0] * centre[i];
        for ((a, b), &weight) in pairs.iter().zip(&weights[1..]).rev() {
            *value += weight * (a[i] + b[i]);
        }
    }
}

#[inline(always)]
fn scaled(values: &[f64], factor: f64) -> [f64; BLOCK] {
    let mut out = [0.0; BLOCK];
    for (o, v) in out.iter_mut().zip(values) {
        *o = factor * v;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dispatched_and_portable_agree_to_the_bit() {
        let line: Vec<f64> = (0..60).map(|i| f64::from(i * i % 37) * 0.1).collect();
        let pairs = [(&line[2..], &line[4..]), (&line[1..], &line[5..])];
        let weights = [0.4, 0.2, 0.1];
        let (mut fast, mut slow) = (vec![0.0; 50], vec![0.0; 50]);
        weighted_rows(&mut fast, &line[3..], &pairs, &weights);
        portable(&mut slow, &line[3..], &pairs, &weights);
        assert_eq!(fast, slow);
        let by_hand = 0.4 * line[10] + 0.1 * (line[8] + line[12]) + 0.2 * (line[9] + line[11]);
        assert!((fast[7] - by_hand).abs() < 1e-12);
    }
}
