//! Which codes are used, and a second life for those that are not.

use candle_core::Tensor;

use super::averages::{Averages, codebook_name};
use super::checkpoint::TrainingState;
use super::ranks::Ranks;
use super::share::Share;
use crate::ModelError;
use crate::model::Model;
use crate::random::{Stream, Use};

/// Counts the uses of each code in a training batch, and replaces codes that have not been used for a configured number of
/// batches by vectors that the encoder just made, `encoded` per level.
///
/// # References
/// Dhariwal et al., Jukebox (2020), arXiv:2005.00341, section 3.1 (random restarts).
pub(super) fn follow_codes(
    model: &Model,
    averages: &mut Averages,
    encoded: [Option<&Tensor>; 2],
    uses: &[Option<Vec<u64>>; 2],
    state: &mut TrainingState,
    batch: (&Ranks, Share),
) -> Result<(), ModelError> {
    for (index, encoded) in encoded.into_iter().enumerate() {
        let Some(uses) = &uses[index] else {
            continue;
        };
        state.code_uses[index]
            .iter_mut()
            .zip(uses)
            .for_each(|(sum, n)| *sum += n);
        let limit = model.config().levels[index].quantizer.revive_after;
        if limit == 0 {
            continue;
        }
        let ages = &mut state.code_ages[index];
        ages.iter_mut()
            .zip(uses)
            .for_each(|(age, n)| *age = if *n > 0 { 0 } else { *age + 1 });
        let dead: Vec<usize> = (0..ages.len())
            .filter(|&k| ages[k] as usize >= limit)
            .collect();
        if let (false, Some(encoded)) = (dead.is_empty(), encoded) {
            revive(model, averages, index, encoded, &dead, state, batch)?;
            dead.iter().for_each(|&k| state.code_ages[index][k] = 0);
        }
    }
    Ok(())
}

fn revive(
    model: &Model,
    averages: &mut Averages,
    index: usize,
    encoded: &Tensor,
    dead: &[usize],
    state: &TrainingState,
    (ranks, share): (&Ranks, Share),
) -> Result<(), ModelError> {
    let (_, _, h, w) = encoded.dims4()?;
    let config = &model.config().levels[index].quantizer;
    let (d, positions) = (config.dimension, h * w);
    let encoded = encoded.flatten_all()?.to_vec1::<f32>()?;
    let Some(codebook) = model.parameters().get(&codebook_name(index)) else {
        return Ok(());
    };
    let mut codes = codebook.value.flatten_all()?.to_vec1::<f32>()?;
    // Every rank draws the same places in the batch; the rank that has the place gives the vector.
    let mut vectors = vec![0.0; dead.len() * d];
    for (&code, vector) in dead.iter().zip(vectors.chunks_exact_mut(d)) {
        let mut stream = Stream::new(
            state.seed,
            Use::DeadCodes,
            &[state.step, index as u64, code as u64],
        );
        let chunk = stream.below(share.total * config.split);
        let position = stream.below(positions);
        let own = share.first * config.split..(share.first + share.count) * config.split;
        if own.contains(&chunk) {
            let chunk = chunk - own.start;
            for (i, value) in vector.iter_mut().enumerate() {
                *value = encoded[(chunk * d + i) * positions + position];
            }
        }
    }
    ranks.team().sum(&mut vectors)?;
    for (&code, vector) in dead.iter().zip(vectors.chunks_exact(d)) {
        codes[code * d..(code + 1) * d].copy_from_slice(vector);
        averages.replace(index, code, vector)?;
    }
    codebook.value.set(&Tensor::from_vec(
        codes,
        (config.codes, d),
        codebook.value.device(),
    )?)?;
    Ok(())
}
