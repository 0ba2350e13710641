//! The variants of the paper's ablation (Methods, "Ablation of the model").

use std::fmt;
use std::str::FromStr;

use super::{Activity, Config};
use crate::ModelError;

/// A variant of the network from which one component was taken.
///
/// # References
/// Kobayashi et al. (2022), doi:10.1038/s41592-022-01541-z, "Identifying the essential components of our model", Fig. 6.
///
/// # Example
/// ```
/// use cytoself_model::{Config, Variant};
///
/// let config = Variant::NucleusImage.of(Config::preset("small")?);
/// assert_eq!(config.model.channels, ["pro", "nuc"]);
/// assert_eq!("no_split".parse::<Variant>()?, Variant::NoSplit);
/// # Ok::<(), cytoself_model::ModelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Nothing is taken away.
    Full,
    /// The protein channel alone.
    NoNucleus,
    /// The image of the nucleus instead of the distance to its edge.
    NucleusImage,
    /// One code per position of the global representation.
    NoSplit,
    /// No identification heads.
    NoIdentification,
    /// No decoders: neither the image nor the local representation is reconstructed.
    NoDecoder,
    /// Heads and decoders get the encoders' outputs.
    NoQuantization,
}

impl Variant {
    /// All seven, the complete network first.
    pub const ALL: [Self; 7] = [
        Self::Full,
        Self::NoNucleus,
        Self::NucleusImage,
        Self::NoSplit,
        Self::NoIdentification,
        Self::NoDecoder,
        Self::NoQuantization,
    ];

    /// The name in files and flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoNucleus => "no_nucleus",
            Self::NucleusImage => "nucleus_image",
            Self::NoSplit => "no_split",
            Self::NoIdentification => "no_identification",
            Self::NoDecoder => "no_decoder",
            Self::NoQuantization => "no_quantization",
        }
    }

    /// The configuration of this variant of `config`, whose first channel is the protein's.
    #[must_use]
    pub fn of(self, mut config: Config) -> Config {
        match self {
            Self::Full => config,
            Self::NoNucleus => {
                config.model.channels.truncate(1);
                config
            }
            Self::NucleusImage => {
                config.model.channels.truncate(1);
                config.model.channels.push("nuc".to_string());
                config
            }
            Self::NoSplit => config.without_split(),
            Self::NoIdentification => config.without_identification(),
            Self::NoDecoder => config.without_decoders(),
            Self::NoQuantization => config.without_quantization(),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let known = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|v| v.name() == text)
            .ok_or_else(|| ModelError::config("variant", format!("one of {known}"), text))
    }
}

impl Config {
    /// Without the identification task: the heads are not built.
    #[must_use]
    pub fn without_identification(mut self) -> Self {
        self.model
            .levels
            .iter_mut()
            .for_each(|l| l.head.activity = Activity::Absent);
        self
    }

    /// Without decoders: neither the image nor the local representation is reconstructed.
    #[must_use]
    pub fn without_decoders(mut self) -> Self {
        self.model
            .levels
            .iter_mut()
            .for_each(|l| l.decoder.activity = Activity::Absent);
        self
    }

    /// Without quantisation: heads and decoders get the encoders' outputs.
    #[must_use]
    pub fn without_quantization(mut self) -> Self {
        self.model
            .levels
            .iter_mut()
            .for_each(|l| l.quantizer.enabled = false);
        self
    }

    /// Without splitting: one code per position of the global representation.
    #[must_use]
    pub fn without_split(mut self) -> Self {
        self.model
            .levels
            .iter_mut()
            .for_each(|l| l.quantizer.split = 1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Work;

    #[test]
    fn every_variant_is_a_network_of_its_own() {
        let small = Config::preset("small").unwrap();
        let mut seen = Vec::new();
        for variant in Variant::ALL {
            let mut config = variant.of(small.clone());
            config.model.classes = 5;
            config.check().unwrap();
            Work::of(&config.model).unwrap();
            assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config);
            assert!(!seen.contains(&config), "{variant}");
            seen.push(config);
            assert_eq!(variant.name().parse::<Variant>().unwrap(), variant);
        }
        let error = "no_heads".parse::<Variant>().unwrap_err().to_string();
        assert!(error.contains("no_identification"), "{error}");
    }
}
