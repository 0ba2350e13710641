//! The network's parts as its settings describe them.

use crate::ModelError;
use crate::config::{Activity, ModelConfig};
use crate::layers::{Builder, Decoder, DecoderPlan, Encoder, Head};

pub(super) fn encoder(
    b: &mut Builder,
    config: &ModelConfig,
    index: usize,
) -> Result<Encoder, ModelError> {
    let (channels, size) = match index {
        0 => (config.channels.len(), config.input),
        _ => (config.levels[0].quantizer.width(), config.embedding(0)),
    };
    let level = &config.levels[index];
    Encoder::new(
        b,
        &format!("encoders.{index}"),
        &level.encoder,
        channels,
        size,
        level.quantizer.width(),
    )
}

pub(super) fn decoder(
    b: &mut Builder,
    config: &ModelConfig,
    index: usize,
) -> Result<Option<Decoder>, ModelError> {
    let decoder = &config.levels[index].decoder;
    if decoder.activity == Activity::Absent {
        return Ok(None);
    }
    Decoder::new(
        b,
        &format!("decoders.{index}"),
        decoder,
        &DecoderPlan::new(config, index)?,
    )
    .map(Some)
}

pub(super) fn head(
    b: &mut Builder,
    config: &ModelConfig,
    index: usize,
) -> Result<Option<Head>, ModelError> {
    let head = &config.levels[index].head;
    if head.activity == Activity::Absent {
        return Ok(None);
    }
    let inputs = config.representation(index);
    Head::new(
        b,
        &format!("fc_layers.{index}"),
        head,
        config.flatten,
        inputs,
        config.classes,
    )
    .map(Some)
}
