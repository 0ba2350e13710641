//! The quantiser within the network.

use candle_core::{Tensor, Var};
use cytoself_vq::candle::{QuantizeOptions, Quantized, split_quantize};

use crate::ModelError;
use crate::config::QuantizerConfig;
use crate::ops;

/// [`split_quantize`], on the tape where one is recorded: the quantiser's small graph is candle's, the tape passes its two
/// gradients on.
pub(super) fn quantize(
    encoded: &Tensor,
    codebook: &Tensor,
    config: &QuantizerConfig,
) -> Result<Quantized, ModelError> {
    let options = &options(config);
    if !ops::on_tape() {
        return Ok(split_quantize(encoded, codebook, options)?);
    }
    let leaf = Var::from_tensor(&encoded.detach())?;
    let mut found = split_quantize(&leaf, codebook, options)?;
    let graph = found.loss.clone();
    found.loss = found.loss.detach();
    found.quantized = found.quantized.detach();
    let codes = codebook.clone();
    ops::push(
        &[encoded, codebook],
        &[&found.quantized, &found.loss],
        move |gradients| {
            let [straight, into_loss] = [gradients[0].clone(), gradients[1].clone()];
            let Some(into_loss) = into_loss else {
                return Ok(vec![straight, None]);
            };
            let store = graph.backward()?;
            let scaled = |t: &Tensor| store.get(t).map(|g| times(g, &into_loss)).transpose();
            let into_z = match (straight, scaled(&leaf)?) {
                (Some(a), Some(b)) => Some(ops::add(&a, &b)?),
                (a, b) => a.or(b),
            };
            Ok(vec![into_z, scaled(&codes)?])
        },
    );
    Ok(found)
}

/// `t` times a scalar that is where it is: reading it would stop a GPU.
fn times(t: &Tensor, scalar: &Tensor) -> candle_core::Result<Tensor> {
    if t.device().is_cpu() {
        return t * f64::from(scalar.to_scalar::<f32>()?);
    }
    t.broadcast_mul(scalar)
}

pub(super) fn options(config: &QuantizerConfig) -> QuantizeOptions {
    QuantizeOptions::default()
        .split(config.split)
        .commitment_cost(config.commitment_cost)
        .quantization_cost(if config.averages() { 0.0 } else { 1.0 })
}
