//! Everything that decides what is computed: the network, its training, and the presets that name both.

mod ablation;
mod check;
mod level;
mod model;
mod normalization;
mod preset;
mod training;
mod work;

pub use ablation::Variant;
pub use level::{
    Activity, DecoderConfig, DecoderStyle, EncoderConfig, FirstConv, HeadConfig, HeadInit,
    LevelConfig, QuantizerConfig, StageConfig, StemConfig,
};
pub use model::{FlattenOrder, InnerTarget, ModelConfig, NormConfig, PaddingRule, Upsampling};
pub use normalization::InputNormalization;
pub use training::{
    AugmentationGroup, OptimizerKind, PlateauRule, ScheduleConfig, TrainingConfig, VarianceRule,
};
pub use work::{Work, WorkItem};

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The format of `config.toml`.
pub const CONFIG_FORMAT: u32 = 1;

/// A network and its training, complete: nothing is left to defaults in the file that is written.
///
/// # Example
/// ```
/// use cytoself_model::Config;
///
/// let config = Config::from_toml("preset = \"small\"\n[model]\nclasses = 5\ninput = [64, 64]\n")?;
/// assert_eq!(config.model.classes, 5);
/// assert_eq!(Config::from_toml(&config.to_toml())?, config);
/// # Ok::<(), cytoself_model::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of this file's format.
    pub format: u32,
    /// The preset that the values started from.
    pub preset: String,
    /// The network.
    pub model: ModelConfig,
    /// How it is trained.
    pub training: TrainingConfig,
}

impl Config {
    /// The names that [`Config::preset`] knows.
    pub const PRESETS: [&str; 6] = [
        "paper",
        "small",
        "torch-readme",
        "torch-split9",
        "torch-tfdec",
        "torch-micro",
    ];

    /// A preset by name: `paper` (the widths of the TensorFlow code that the paper trained), `small`, `torch-readme`,
    /// `torch-split9`, `torch-tfdec`, `torch-micro`.
    ///
    /// # Errors
    /// - no preset has that name.
    pub fn preset(name: &str) -> Result<Self, ModelError> {
        preset::by_name(name)
    }

    /// Reads a configuration. Settings that the text leaves out come from the preset it names (`paper` if none).
    ///
    /// # Errors
    /// - the text is not TOML, has a setting that does not exist or of another type;
    /// - the preset does not exist;
    /// - the format is of a later version;
    /// - a value is impossible ([`Config::check`]).
    pub fn from_toml(text: &str) -> Result<Self, ModelError> {
        let toml_error = |e: toml::de::Error| ModelError::Toml(e.to_string());
        let given: toml::Table = text.parse().map_err(toml_error)?;
        let preset = match given.get("preset") {
            None => "paper",
            Some(toml::Value::String(name)) => name,
            Some(other) => return Err(ModelError::config("preset", "a preset's name", other)),
        };
        let base = toml::Table::try_from(Self::preset(preset)?)
            .map_err(|e| ModelError::Toml(e.to_string()))?;
        let config: Self = merge(base, given).try_into().map_err(toml_error)?;
        if config.format != CONFIG_FORMAT {
            return Err(ModelError::config(
                "format",
                format!("{CONFIG_FORMAT}"),
                config.format,
            ));
        }
        config.check()?;
        Ok(config)
    }

    /// The configuration as TOML, complete.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Serialising plain structs of numbers, texts and lists cannot fail.
        toml::to_string(self).unwrap_or_default()
    }

    /// Checks that the network can be built and the training run.
    ///
    /// # Errors
    /// - a setting has an impossible value; the error names it.
    pub fn check(&self) -> Result<(), ModelError> {
        self.model.check()?;
        self.training.check()
    }
}

/// Puts the values of `over` in the place of those of `base`; tables are merged, lists of tables entry by entry.
fn merge(mut base: toml::Table, over: toml::Table) -> toml::Table {
    for (key, value) in over {
        let merged = match (base.remove(&key), value) {
            (Some(old), new) => merge_value(old, new),
            (None, new) => new,
        };
        base.insert(key, merged);
    }
    base
}

fn merge_value(old: toml::Value, new: toml::Value) -> toml::Value {
    use toml::Value::{Array, Table};
    match (old, new) {
        (Table(a), Table(b)) => Table(merge(a, b)),
        // The two levels: a text may override settings of one level without repeating the others.
        (Array(a), Array(b))
            if a.len() == b.len() && a.iter().chain(&b).all(toml::Value::is_table) =>
        {
            Array(
                a.into_iter()
                    .zip(b)
                    .map(|(x, y)| merge_value(x, y))
                    .collect(),
            )
        }
        (_, new) => new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_survives_its_file() {
        for name in Config::PRESETS {
            let mut config = Config::preset(name).unwrap();
            config.model.classes = 7;
            config.check().unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(
                Config::from_toml(&config.to_toml()).unwrap(),
                config,
                "{name}"
            );
        }
    }

    #[test]
    fn a_text_overrides_single_settings_of_one_level() {
        let text = "preset = \"small\"\n[model]\nclasses = 3\n[[model.levels]]\n[[model.levels]]\nquantizer = { codes = 99 }\n";
        let config = Config::from_toml(text).unwrap();
        let small = Config::preset("small").unwrap();
        assert_eq!(config.model.levels[1].quantizer.codes, 99);
        assert_eq!(config.model.levels[0], small.model.levels[0]);
        assert_eq!(
            config.model.levels[1].encoder,
            small.model.levels[1].encoder
        );
    }

    #[test]
    fn wrong_texts_say_what_is_wrong() {
        let error = |text: &str| Config::from_toml(text).unwrap_err().to_string();
        assert!(error("preset = \"huge\"").contains("torch-split9"));
        assert!(error("[model]\nclases = 3").contains("clases"));
        assert!(error("[model]\nclasses = 3\n[training]\nbatch = 0").contains("training.batch"));
        assert!(error("format = 2").contains("format"));
        assert!(error("[model").contains("configuration"));
    }
}
