//! How one axis is sampled.

/// Per output position: the two input positions and the weight of the second.
///
/// # References
/// Half-pixel centres: output `i` lies at `(i + 0.5) in / out - 0.5`, clamped at 0 (PyTorch's `align_corners=False`).
pub(crate) fn linear(input: usize, output: usize) -> Vec<(usize, usize, f32)> {
    let scale = input as f32 / output as f32;
    let sample = |i: usize| {
        let at = ((i as f32 + 0.5) * scale - 0.5).max(0.0);
        let low = (at as usize).min(input - 1);
        (low, (low + 1).min(input - 1), at - low as f32)
    };
    (0..output).map(sample).collect()
}

/// Per output position: the input position `floor(i * in / out)`.
pub(crate) fn nearest(input: usize, output: usize) -> Vec<usize> {
    (0..output).map(|i| i * input / output).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_4_to_25_takes_7_6_6_6() {
        let counts = (0..4)
            .map(|k| nearest(4, 25).iter().filter(|i| **i == k).count())
            .collect::<Vec<_>>();
        assert_eq!(counts, [7, 6, 6, 6]);
    }

    #[test]
    fn linear_doubling_mixes_quarters() {
        assert_eq!(
            linear(2, 4),
            [(0, 1, 0.0), (0, 1, 0.25), (0, 1, 0.75), (1, 1, 0.25)]
        );
    }
}
