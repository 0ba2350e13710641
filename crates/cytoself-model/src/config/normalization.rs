//! What is done to crops between the store and the network.

use cytoself_io::network_scale;
use serde::{Deserialize, Serialize};

/// What is done to the crops of a store before the network sees them.
///
/// The crops that `preprocess` writes are normalised already. Foreign crops may hold raw intensities, whose level betrays
/// the field and so the protein: a network then learns the exposure instead of the localisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputNormalization {
    /// Nothing: the crops are normalised as stored.
    #[default]
    None,
    /// Each image channel of each crop to 0..1 by its own minimum and maximum; the nuclear distance stays in its unit.
    Crop,
    /// Each image channel of each crop divided by its own maximum: the exposure goes, the level of the background beside
    /// the structures stays. For crops whose 0 is no light.
    Maximum,
}

impl InputNormalization {
    /// Normalises crops in place.
    ///
    /// **Shapes**: `pixels` is `[n, channels, plane]`, row-major; `plane` is the number of pixels of a channel.
    pub fn apply(self, pixels: &mut [f32], channels: &[String], plane: usize) {
        if self == Self::None || plane == 0 {
            return;
        }
        for (values, channel) in pixels.chunks_exact_mut(plane).zip(channels.iter().cycle()) {
            // A channel that is scaled for the network is a distance in pixels, not an intensity.
            if network_scale(channel) == 1.0 {
                stretch(values, self == Self::Maximum);
            }
        }
    }
}

/// Brings the highest value to 1, and the lowest to 0 unless 0 keeps its place; a blank channel becomes 0. Values that are
/// not numbers stay, so that training reports them.
fn stretch(values: &mut [f32], keep_zero: bool) {
    let low = if keep_zero {
        0.0
    } else {
        values.iter().copied().fold(f32::INFINITY, f32::min)
    };
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let span = high - low;
    let scale = if span > 0.0 { 1.0 / span } else { 0.0 };
    values.iter_mut().for_each(|v| *v = (*v - low) * scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_channels_span_0_to_1_and_distances_stay() {
        let channels = ["pro".to_string(), "nucdist".to_string()];
        let stored = vec![2.0, 4.0, 3.0, -0.2, 0.1, 0.0, 7.0, 7.0, 7.0, 0.3, 0.3, 0.1];
        let mut pixels = stored.clone();
        InputNormalization::Crop.apply(&mut pixels, &channels, 3);
        let expected = [0.0, 1.0, 0.5, -0.2, 0.1, 0.0, 0.0, 0.0, 0.0, 0.3, 0.3, 0.1];
        assert_eq!(pixels, expected);
        let mut pixels = stored.clone();
        InputNormalization::Maximum.apply(&mut pixels, &channels, 3);
        let expected = [0.5, 1.0, 0.75, -0.2, 0.1, 0.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.1];
        assert_eq!(pixels, expected);
        let mut pixels = stored.clone();
        InputNormalization::None.apply(&mut pixels, &channels, 3);
        assert_eq!(pixels, stored);
    }

    #[test]
    fn values_that_are_not_numbers_stay_visible() {
        let mut pixels = vec![0.0, f32::NAN, 2.0];
        InputNormalization::Crop.apply(&mut pixels, &["pro".to_string()], 3);
        assert!(pixels[1].is_nan());
    }
}
