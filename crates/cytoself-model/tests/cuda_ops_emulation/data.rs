//! Shapes, values, comparisons.

use cytoself_model::ops::RngKey;

/// `[n, c, h, w]`: single pixels, packs of four and none, more than one tile, more than one block.
pub const SHAPES: [[usize; 4]; 7] = [
    [1, 1, 1, 1],
    [3, 2, 4, 4],
    [1, 7, 25, 25],
    [3, 1, 49, 51],
    [1, 64, 4, 4],
    [3, 7, 7, 5],
    [2, 2, 50, 52],
];

/// How far arrays lie off a multiple of 16 bytes.
pub const SHIFTS: [usize; 2] = [0, 4];

/// Standard normal numbers.
pub fn noise(count: usize, stream: u64) -> Vec<f32> {
    let key = RngKey {
        seed: 5,
        stream,
        step: 0,
    };
    (0..count as u64).map(|i| key.normal(i)).collect()
}

/// The root of the mean square.
pub fn size(values: &[f32]) -> f32 {
    let square = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    (square / values.len().max(1) as f64).sqrt() as f32
}

/// Asserts that values agree to 1e-5 of themselves, or of `at_least`.
#[track_caller]
pub fn close_to(what: &str, found: &[f32], expected: &[f32], at_least: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let allowed = 1e-5 * e.abs().max(at_least);
        assert!(
            (f - e).abs() <= allowed,
            "{what}: value {i} of {} is {f:e}, expected {e:e} +- {allowed:e}",
            found.len()
        );
    }
}

/// Asserts that values agree to 1e-5 of themselves, or of their root mean square.
#[track_caller]
pub fn close(what: &str, found: &[f32], expected: &[f32]) {
    close_to(what, found, expected, size(expected));
}

/// Asserts that values have the same bits.
#[track_caller]
pub fn same(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            f.to_bits() == e.to_bits(),
            "{what}: value {i} of {} is {f:e}, expected {e:e}",
            found.len()
        );
    }
}
