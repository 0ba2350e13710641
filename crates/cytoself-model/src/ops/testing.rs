//! What the tests of several kernels need.

use super::RngKey;

/// Standard normal values.
pub(crate) fn normal(n: usize, stream: u64) -> Vec<f32> {
    let key = RngKey {
        seed: 5,
        stream,
        step: 0,
    };
    (0..n as u64).map(|i| key.normal(i)).collect()
}

/// Every value within `tolerance` of the expected one, relative to that or, if it is larger, to the root of their mean square.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let square = expected.iter().map(|e| e * e).sum::<f64>();
    let rms = (square / expected.len() as f64).sqrt().max(0.1);
    for (f, e) in found.iter().zip(expected) {
        let off = (f64::from(*f) - e).abs();
        assert!(
            off <= tolerance * rms.max(e.abs()),
            "{what}: {f}, expected {e} (rms {rms})"
        );
    }
}
