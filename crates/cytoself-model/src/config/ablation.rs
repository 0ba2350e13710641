//! The variants of the paper's ablation (Methods, "Ablation of the model").

use super::{Activity, Config};

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
