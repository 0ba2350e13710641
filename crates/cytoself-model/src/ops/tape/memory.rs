//! How much memory a tape's backward pass takes, from the sizes on the tape.

use std::collections::HashMap;

use candle_core::{Tensor, TensorId};

use super::Tape;

/// The storage behind a tensor, which several tensors may share, and its size.
pub(super) fn storage(t: &Tensor) -> (usize, usize) {
    let (guard, _) = t.storage_and_layout();
    let place: *const candle_core::Storage = &raw const *guard;
    (place.addr(), bytes(t))
}

/// Bytes of a tensor's values.
pub(super) fn bytes(t: &Tensor) -> usize {
    t.elem_count() * t.dtype().size_in_bytes()
}

impl Tape {
    /// Bytes of all maps and gradients that are alive at each step of [`Tape::backward`] from `loss`, in its order. Variables are
    /// left out, their gradients are not. `held` are tensors that the caller keeps until the end.
    pub(crate) fn backward_memory(&self, loss: &Tensor, held: &[&Tensor]) -> Vec<usize> {
        let mut kept = self.kept(held);
        let mut maps: usize = kept.values().map(|(_, bytes)| bytes).sum();
        let mut freed: HashMap<usize, usize> = HashMap::new();
        for (first, bytes) in kept.drain().map(|(_, entry)| entry) {
            *freed.entry(first).or_default() += bytes;
        }
        let mut gradients: HashMap<TensorId, usize> = HashMap::from([(loss.id(), bytes(loss))]);
        let mut moments = Vec::with_capacity(self.steps.len());
        for (index, step) in self.steps.iter().enumerate().rev() {
            let before: usize = gradients.values().sum();
            let of_outputs = step.outputs.iter().map(|o| gradients.remove(&o.id));
            if of_outputs.flatten().count() > 0 {
                let wanted = |t: &&Tensor| t.is_variable() || self.tracked.contains(&t.id());
                let mut made = 0;
                for input in step.inputs.iter().filter(wanted) {
                    // The gradient, and where there is one already, their sum.
                    let times = if gradients.contains_key(&input.id()) {
                        2
                    } else {
                        1
                    };
                    made += times * bytes(input);
                    gradients.insert(input.id(), bytes(input));
                }
                moments.push(maps + before + made);
            }
            maps -= freed.get(&index).copied().unwrap_or(0);
        }
        moments
    }

    /// By storage: the first step that holds it, after which it is released, and its bytes.
    fn kept(&self, held: &[&Tensor]) -> HashMap<usize, (usize, usize)> {
        let mut kept = HashMap::new();
        // Released after the last step of the pass: never, as far as its moments go.
        for t in held {
            let (place, bytes) = storage(t);
            kept.insert(place, (0, bytes));
        }
        for (index, step) in self.steps.iter().enumerate() {
            for input in step.inputs.iter().filter(|t| !t.is_variable()) {
                let (place, bytes) = storage(input);
                kept.entry(place).or_insert((index, bytes));
            }
            for output in step.outputs.iter().filter(|o| o.kept) {
                kept.entry(output.place).or_insert((index, output.bytes));
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor, Var};

    use crate::ops;

    #[test]
    fn a_chain_counts_its_maps_and_gradients() {
        let x = Var::zeros(100, DType::F32, &Device::Cpu).unwrap();
        let target = Tensor::zeros(100, DType::F32, &Device::Cpu).unwrap();
        let (loss, tape) = ops::record(|| {
            let y = ops::relu(&x)?;
            ops::mse(&ops::relu(&y)?, &target)
        })
        .unwrap();
        let moments = tape.backward_memory(&loss, &[]);
        // Alive: both maps of relu, the target, the loss. The gradient of the last map comes first, then one makes the next.
        let maps = 4 * (3 * 100 + 1);
        assert_eq!(
            moments,
            [maps + 4 + 400, maps - 404 + 800, maps - 804 + 800]
        );
    }
}
