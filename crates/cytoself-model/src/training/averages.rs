//! Codebooks that are moving averages of the vectors that chose their codes, instead of trained weights.

use std::collections::HashMap;

use candle_core::{Device, Tensor, Var};
use cytoself_vq::{CodeSums, Codebook, EmaParams, MovingAverage, Vectors};

use super::team::Collectives;
use crate::ModelError;
use crate::config::ModelConfig;
use crate::model::{Forward, Level, Model};
use crate::ops;

/// Name of the codes of level `index`, as PyTorch's state dict has it.
pub(super) fn codebook_name(index: usize) -> String {
    format!("vq_layers.{index}.codebook.weight")
}

/// Whether the tensor `name` follows averages and is none of the optimizer's.
pub(super) fn is_average(config: &ModelConfig, name: &str) -> bool {
    let mut levels = config.levels.iter().enumerate();
    levels.any(|(index, level)| level.quantizer.averages() && codebook_name(index) == name)
}

/// The averages of both levels; none of a level whose codes are trained by gradient.
///
/// # References
/// van den Oord et al., Neural Discrete Representation Learning (2017), arXiv:1711.00937, appendix A.1.
pub(super) struct Averages {
    levels: [Option<Average>; 2],
}

struct Average {
    name: String,
    codebook: Var,
    split: usize,
    dimension: usize,
    params: EmaParams,
    average: MovingAverage,
    /// Sums of the batches whose gradients wait for their step too.
    waiting: Option<CodeSums>,
}

impl Averages {
    /// Starts from the network's codes.
    pub(super) fn new(model: &Model) -> Result<Self, ModelError> {
        Ok(Self {
            levels: [Average::new(model, 0)?, Average::new(model, 1)?],
        })
    }

    /// Takes in the vectors and codes of a batch; of one that does not `count`, that there were none.
    pub(super) fn collect(&mut self, forward: &Forward, count: bool) -> Result<(), ModelError> {
        for (average, level) in self.levels.iter_mut().zip(&forward.levels) {
            if let Some(average) = average {
                average.collect(level, count)?;
            }
        }
        Ok(())
    }

    /// Moves the codes by what all ranks took in since the last step.
    pub(super) fn step(&mut self, team: &dyn Collectives) -> Result<(), ModelError> {
        let mut levels = self.levels.iter_mut().flatten();
        levels.try_for_each(|average| average.step(team))
    }

    /// Starts the average of a code of level `index` anew from `vector`.
    pub(super) fn replace(
        &mut self,
        index: usize,
        code: usize,
        vector: &[f32],
    ) -> Result<(), ModelError> {
        if let Some(average) = &mut self.levels[index] {
            average.average.replace(code, vector)?;
        }
        Ok(())
    }

    /// What a resumed training needs: per level `ema_count.NAME` `[k]` and `ema_sum.NAME` `[k, d]`, f64.
    pub(super) fn state(&self) -> Result<Vec<(String, Tensor)>, ModelError> {
        let mut tensors = Vec::new();
        for a in self.levels.iter().flatten() {
            let (counts, sums) = (a.average.counts(), a.average.sums());
            let shape = (counts.len(), a.dimension);
            for (kind, values) in [
                (
                    "ema_count",
                    Tensor::from_slice(counts, shape.0, &Device::Cpu)?,
                ),
                ("ema_sum", Tensor::from_slice(sums, shape, &Device::Cpu)?),
            ] {
                tensors.push((format!("{kind}.{}", a.name), values));
            }
        }
        Ok(tensors)
    }

    /// Goes back to a saved state after `steps` steps.
    ///
    /// # Errors
    /// - a tensor of [`Averages::state`] is missing or has another shape.
    pub(super) fn load_state(
        &mut self,
        tensors: &HashMap<String, Tensor>,
        steps: u64,
    ) -> Result<(), ModelError> {
        for a in self.levels.iter_mut().flatten() {
            let codes = a.average.counts().len();
            let counts = values(tensors, &format!("ema_count.{}", a.name), &[codes])?;
            let sums = values(
                tensors,
                &format!("ema_sum.{}", a.name),
                &[codes, a.dimension],
            )?;
            a.average = MovingAverage::resume(a.params, a.dimension, counts, sums, steps)?;
        }
        Ok(())
    }
}

impl Average {
    fn new(model: &Model, index: usize) -> Result<Option<Self>, ModelError> {
        let config = &model.config().levels[index].quantizer;
        let name = codebook_name(index);
        let (true, Some(codes)) = (config.averages(), model.parameters().get(&name)) else {
            return Ok(None);
        };
        let params = EmaParams::default().decay(config.ema_decay);
        let values = codes.value.flatten_all()?.to_vec1()?;
        let start = Codebook::new(values, config.codes, config.dimension)?;
        Ok(Some(Self {
            name,
            codebook: codes.value.clone(),
            split: config.split,
            dimension: config.dimension,
            params,
            average: MovingAverage::new(&start, params)?,
            waiting: None,
        }))
    }

    fn collect(&mut self, level: &Level, count: bool) -> Result<(), ModelError> {
        let Some(quantized) = &level.quantized else {
            return Ok(());
        };
        let (n, _, h, w) = level.encoded.dims4()?;
        let indices = quantized.indices.flatten_all()?.to_vec1::<u32>()?;
        let codes = self.average.counts().len();
        let (split, dimension) = (self.split, self.dimension);
        let mut batch = ops::with_values(&level.encoded.to_device(&Device::Cpu)?, |values| {
            let vectors = Vectors::planes(values, n, split, dimension, h * w)?;
            CodeSums::new(&vectors, &indices, codes)
        })??;
        if !count {
            batch.counts.fill(0);
            batch.sums.fill(0.0);
        }
        self.waiting = Some(match self.waiting.take() {
            None => batch,
            Some(sum) => joined(sum, &batch),
        });
        Ok(())
    }

    fn step(&mut self, team: &dyn Collectives) -> Result<(), ModelError> {
        let Some(mut batch) = self.waiting.take() else {
            return Ok(());
        };
        over_ranks(&mut batch, team)?;
        // The vectors are asked for only where the average itself replaces codes; here the trainer does, by age.
        let none = Vectors::rows(&[], 0, 1, self.dimension)?;
        let codes = self.average.update_with(&batch, &none)?.codebook;
        let shape = (codes.codes(), codes.dim());
        let device = self.codebook.device();
        self.codebook
            .set(&Tensor::from_slice(codes.as_slice(), shape, device)?)?;
        Ok(())
    }
}

/// Sums over ranks; counts are whole numbers far below 2^53.
fn over_ranks(batch: &mut CodeSums, team: &dyn Collectives) -> Result<(), ModelError> {
    if team.size() == 1 {
        return Ok(());
    }
    let mut values: Vec<f64> = batch.counts.iter().map(|c| f64::from(*c)).collect();
    values.extend(&batch.sums);
    team.sum_f64(&mut values)?;
    let (counts, sums) = values.split_at(batch.counts.len());
    batch.counts = counts.iter().map(|c| *c as u32).collect();
    batch.sums = sums.to_vec();
    Ok(())
}

fn joined(mut sum: CodeSums, batch: &CodeSums) -> CodeSums {
    sum.counts
        .iter_mut()
        .zip(&batch.counts)
        .for_each(|(a, b)| *a += b);
    sum.sums
        .iter_mut()
        .zip(&batch.sums)
        .for_each(|(a, b)| *a += b);
    sum
}

fn values(
    tensors: &HashMap<String, Tensor>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f64>, ModelError> {
    let found = tensors.get(name).map_or(&[][..], Tensor::dims);
    match tensors.get(name) {
        Some(tensor) if found == shape => Ok(tensor.flatten_all()?.to_vec1()?),
        _ => Err(ModelError::Shape {
            what: format!("the optimizer's state {name}"),
            expected: shape.to_vec(),
            found: found.to_vec(),
            hint: "was ema_decay changed in config.toml? Train anew with --overwrite".to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::layers::Pass;
    use crate::training::team::Alone;

    fn model() -> Model {
        let mut config = Config::preset("torch-micro").unwrap().model;
        config.classes = 2;
        for level in &mut config.levels {
            level.quantizer.ema_decay = 0.9;
        }
        Model::new(&config, 1, &Device::Cpu).unwrap()
    }

    #[test]
    fn two_half_batches_are_one_batch() {
        let images = |from: usize, to: usize| {
            let pixels: Vec<f32> = (from * 3200..to * 3200)
                .map(|i| (i * 7919 % 97) as f32 / 97.0)
                .collect();
            Tensor::from_vec(pixels, (to - from, 2, 40, 40), &Device::Cpu).unwrap()
        };
        let after = |cuts: &[usize]| -> Vec<Vec<f32>> {
            let model = model();
            let mut averages = Averages::new(&model).unwrap();
            for ends in cuts.windows(2) {
                let images = images(ends[0], ends[1]);
                let forward = model.forward(&images, &Pass::evaluate()).unwrap();
                averages.collect(&forward, true).unwrap();
            }
            averages.step(&Alone).unwrap();
            let codes = |index| {
                let codes = model.parameters().get(&codebook_name(index)).unwrap();
                codes.value.flatten_all().unwrap().to_vec1().unwrap()
            };
            vec![codes(0), codes(1)]
        };
        let (whole, halves) = (after(&[0, 4]), after(&[0, 2, 4]));
        let before = after(&[0]);
        for level in 0..2 {
            assert_ne!(whole[level], before[level]);
            let furthest = whole[level].iter().zip(&halves[level]);
            assert!(furthest.fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) < 1e-6);
        }
    }

    #[test]
    fn a_missing_state_is_named() {
        let error = Averages::new(&model())
            .unwrap()
            .load_state(&HashMap::new(), 3)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ema_count.vq_layers.0.codebook.weight"),
            "{error}"
        );
        assert!(error.contains("ema_decay"), "{error}");
    }
}
