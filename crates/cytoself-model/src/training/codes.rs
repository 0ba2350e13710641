//! Which codes are used, and a second life for those that are not.

use candle_core::Tensor;

use super::averages::{Averages, codebook_name};
use super::checkpoint::TrainingState;
use crate::ModelError;
use crate::model::{Forward, Level, Model};
use crate::random::{Stream, Use};

/// Counts the uses of each code in a training batch, and replaces codes that have not been used for a configured number of
/// batches by vectors that the encoder just made.
///
/// # References
/// Dhariwal et al., Jukebox (2020), arXiv:2005.00341, section 3.1 (random restarts).
pub(super) fn follow_codes(
    model: &Model,
    averages: &mut Averages,
    forward: &Forward,
    state: &mut TrainingState,
) -> Result<(), ModelError> {
    for (index, level) in forward.levels.iter().enumerate() {
        let Some(quantized) = &level.quantized else {
            continue;
        };
        let uses = uses(&quantized.histogram)?;
        state.code_uses[index]
            .iter_mut()
            .zip(&uses)
            .for_each(|(sum, n)| *sum += n);
        let limit = model.config().levels[index].quantizer.revive_after;
        if limit == 0 {
            continue;
        }
        let ages = &mut state.code_ages[index];
        ages.iter_mut()
            .zip(&uses)
            .for_each(|(age, n)| *age = if *n > 0 { 0 } else { *age + 1 });
        let dead: Vec<usize> = (0..ages.len())
            .filter(|&k| ages[k] as usize >= limit)
            .collect();
        if !dead.is_empty() {
            revive(model, averages, index, level, &dead, state)?;
            dead.iter().for_each(|&k| state.code_ages[index][k] = 0);
        }
    }
    Ok(())
}

/// Uses of each code in the batch.
fn uses(histogram: &Tensor) -> Result<Vec<u64>, ModelError> {
    let rows = histogram.to_vec2::<f32>()?;
    let mut sums = vec![0; rows.first().map_or(0, Vec::len)];
    for row in rows {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, n): (&mut u64, f32)| *sum += n as u64);
    }
    Ok(sums)
}

fn revive(
    model: &Model,
    averages: &mut Averages,
    index: usize,
    level: &Level,
    dead: &[usize],
    state: &TrainingState,
) -> Result<(), ModelError> {
    let (n, _, h, w) = level.encoded.dims4()?;
    let config = &model.config().levels[index].quantizer;
    let (d, positions) = (config.dimension, h * w);
    let encoded = level.encoded.flatten_all()?.to_vec1::<f32>()?;
    let Some(codebook) = model.parameters().get(&codebook_name(index)) else {
        return Ok(());
    };
    let mut codes = codebook.value.flatten_all()?.to_vec1::<f32>()?;
    for &code in dead {
        let mut stream = Stream::new(
            state.seed,
            Use::DeadCodes,
            &[state.step, index as u64, code as u64],
        );
        let chunk = stream.below(n * config.split);
        let position = stream.below(positions);
        let row = &mut codes[code * d..(code + 1) * d];
        for (i, value) in row.iter_mut().enumerate() {
            *value = encoded[(chunk * d + i) * positions + position];
        }
        averages.replace(index, code, row)?;
    }
    codebook.value.set(&Tensor::from_vec(
        codes,
        (config.codes, d),
        codebook.value.device(),
    )?)?;
    Ok(())
}
