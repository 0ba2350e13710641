//! Settings of the baseline.

use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::config::InputNormalization;

/// The format of the file.
const FORMAT: u32 = 1;

/// A network for paired cell inpainting and its training.
///
/// # Defaults
/// The published network and optimizer (Adam 1e-4, beta1 0.5, 30 epochs) with one marker, `nuc`; batches of 32 (published: 4 for
/// human, 64 for yeast cells).
///
/// Differs from Lu et al.: crops keep their size instead of being resized to 64 x 64 px, and only `width` of each
/// layer's channels may be built.
///
/// # Example
/// ```
/// use cytoself_model::InpaintingConfig;
/// let config = InpaintingConfig { width: 0.25, ..InpaintingConfig::default() };
/// assert_eq!(config.channels_of(384), 96);
/// assert_eq!(InpaintingConfig::from_toml(&config.to_toml())?, config);
/// # Ok::<(), cytoself_model::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InpaintingConfig {
    /// Version of this file's format.
    pub format: u32,
    /// The channel that is predicted.
    pub protein: String,
    /// The channels that are given of both cells.
    pub markers: Vec<String>,
    /// Height and width of a crop in px, at least 8.
    pub input: [usize; 2],
    /// What is done to the crops of a store before the network sees them.
    pub normalization: InputNormalization,
    /// Share of the published channels that every layer has.
    pub width: f64,
    /// Seed of the initial weights, the order of crops, their partners and their flips.
    pub seed: u64,
    /// Passes over the training crops, at most.
    pub epochs: usize,
    /// Training ends with the first batch after this many seconds of work; absent: with the last epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seconds: Option<f64>,
    /// Crops in a batch.
    pub batch: usize,
    /// Learning rate of Adam.
    pub learning_rate: f64,
    /// Decay of Adam's first moment.
    pub beta1: f64,
}

impl Default for InpaintingConfig {
    fn default() -> Self {
        Self {
            format: FORMAT,
            protein: "pro".to_string(),
            markers: vec!["nuc".to_string()],
            input: [100; 2],
            normalization: InputNormalization::None,
            width: 1.0,
            seed: 42,
            epochs: 30,
            seconds: None,
            batch: 32,
            learning_rate: 1e-4,
            beta1: 0.5,
        }
    }
}

impl InpaintingConfig {
    /// Reads a complete configuration.
    ///
    /// # Errors
    /// - the text is not TOML, lacks a setting or has one that does not exist;
    /// - a value is impossible.
    pub fn from_toml(text: &str) -> Result<Self, ModelError> {
        let config: Self = toml::from_str(text).map_err(|e| ModelError::Toml(e.to_string()))?;
        if config.format != FORMAT {
            return Err(ModelError::config(
                "format",
                FORMAT.to_string(),
                config.format,
            ));
        }
        config.check()?;
        Ok(config)
    }

    /// The configuration as TOML, complete.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Serialising a plain struct of numbers, texts and lists cannot fail.
        toml::to_string(self).unwrap_or_default()
    }

    /// Checks that the network can be built and the training run.
    ///
    /// # Errors
    /// - a setting has an impossible value; the error names it.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong = |field: &str, expected: &str, found: String| {
            Err(ModelError::config(
                format!("inpainting.{field}"),
                expected,
                found,
            ))
        };
        if self.markers.is_empty() {
            return wrong(
                "markers",
                "at least one channel beside the protein's",
                "none".into(),
            );
        }
        if self.input.iter().any(|&side| side < 8) {
            return wrong("input", "at least 8 px", format!("{:?}", self.input));
        }
        if !(self.width > 0.0 && self.width <= 4.0) {
            return wrong("width", "above 0, at most 4", self.width.to_string());
        }
        if self.batch == 0 || self.epochs == 0 {
            return wrong("batch and epochs", "at least 1", "0".into());
        }
        if !(0.0..=1e3).contains(&self.learning_rate) || !(0.0..1.0).contains(&self.beta1) {
            let found = format!("{} and {}", self.learning_rate, self.beta1);
            return wrong(
                "learning_rate and beta1",
                "0 to 1000, and 0 to below 1",
                found,
            );
        }
        if self.seconds.is_some_and(|s| s.is_nan() || s <= 0.0) {
            return wrong("seconds", "above 0", format!("{:?}", self.seconds));
        }
        Ok(())
    }

    /// Channels that a layer of `published` channels has here.
    #[must_use]
    pub fn channels_of(&self, published: usize) -> usize {
        ((published as f64 * self.width).round() as usize).max(1)
    }

    /// The protein's channel, then the markers'.
    #[must_use]
    pub fn channels(&self) -> Vec<String> {
        let markers = self.markers.iter().cloned();
        std::iter::once(self.protein.clone())
            .chain(markers)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_settings_are_named() {
        let error = |change: &dyn Fn(&mut InpaintingConfig)| {
            let mut config = InpaintingConfig::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(error(&|c| c.markers.clear()).contains("markers"));
        assert!(error(&|c| c.input = [4, 100]).contains("input"));
        assert!(error(&|c| c.width = 0.0).contains("width"));
        assert!(error(&|c| c.seconds = Some(f64::NAN)).contains("seconds"));
        assert!(InpaintingConfig::from_toml("format = 1").is_err());
    }
}
