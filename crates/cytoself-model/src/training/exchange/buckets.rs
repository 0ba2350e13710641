//! Gradients in buckets, in the order in which they become final.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::{Tensor, TensorId};

use crate::ModelError;

/// Values that are summed over ranks at once: 4 MiB.
pub(in crate::training) const BUCKET: usize = 1 << 20;

/// Values of the gradients of a small network that are summed at once. A sixteenth of it, so that most are on their way before the
/// backward pass ends; 64 KiB at least, below which a message costs more than its bytes.
fn bucket(values: usize) -> usize {
    (values / 16).clamp(1 << 14, BUCKET)
}

/// Places `0..sizes.len()` in groups of at least `full` values, but for the last.
pub(in crate::training) fn cut(
    sizes: impl IntoIterator<Item = usize>,
    full: usize,
) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut filled = full;
    for (place, size) in sizes.into_iter().enumerate() {
        match groups.last_mut() {
            Some(last) if filled < full => last.end = place + 1,
            _ => {
                groups.push(place..place + 1);
                filled = 0;
            }
        }
        filled += size;
    }
    groups
}

/// The gradients of one backward pass. Which variable is in which bucket depends on their order and sizes alone, so that all ranks
/// have the same buckets, whatever gradients they have.
pub(super) struct Buckets {
    variables: Vec<Tensor>,
    places: HashMap<TensorId, usize>,
    gradients: Vec<Option<Tensor>>,
    present: Vec<bool>,
    groups: Vec<Range<usize>>,
    /// Gradients that a group waits for.
    missing: Vec<usize>,
    /// The first group that has not been given out.
    next: usize,
}

impl Buckets {
    /// Empty ones for the gradients of `variables`, which are expected in this order.
    pub(super) fn new(variables: Vec<Tensor>) -> Self {
        let sizes = || variables.iter().map(Tensor::elem_count);
        let groups = cut(sizes(), bucket(sizes().sum()));
        Self {
            places: variables
                .iter()
                .enumerate()
                .map(|(place, v)| (v.id(), place))
                .collect(),
            gradients: vec![None; variables.len()],
            present: vec![false; variables.len()],
            missing: groups.iter().map(Range::len).collect(),
            groups,
            next: 0,
            variables,
        }
    }

    /// Puts a gradient into its bucket.
    pub(super) fn put(&mut self, variable: &Tensor, gradient: Tensor) -> Result<(), ModelError> {
        let place = self.places.get(&variable.id()).copied();
        let Some(place) = place.filter(|place| !self.present[*place]) else {
            let text = "a gradient was finished twice, or is of no variable of the network";
            return Err(candle_core::Error::Msg(text.to_string()).into());
        };
        self.gradients[place] = Some(gradient);
        self.present[place] = true;
        let group = self.groups.partition_point(|g| g.end <= place);
        self.missing[group] -= 1;
        Ok(())
    }

    /// The next bucket, if all its gradients are here.
    pub(super) fn next_full(&mut self) -> Option<Vec<Tensor>> {
        if *self.missing.get(self.next)? > 0 {
            return None;
        }
        let group = self.groups[self.next].clone();
        self.next += 1;
        Some(group.filter_map(|p| self.gradients[p].take()).collect())
    }

    /// The next bucket, with zeros where no gradient has come.
    pub(super) fn next_partial(&mut self) -> Result<Option<Vec<Tensor>>, ModelError> {
        let Some(group) = self.groups.get(self.next).cloned() else {
            return Ok(None);
        };
        self.next += 1;
        let bucket = group.map(|p| match self.gradients[p].take() {
            Some(gradient) => Ok(gradient),
            None => Ok(self.variables[p].zeros_like()?),
        });
        bucket.collect::<Result<_, ModelError>>().map(Some)
    }

    /// The variables in order, none in the place of one without gradient.
    pub(super) fn present(&self) -> impl Iterator<Item = Option<&Tensor>> {
        let pairs = self.variables.iter().zip(&self.present);
        pairs.map(|(variable, present)| present.then_some(variable))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    #[test]
    fn groups_are_full_but_for_the_last() {
        assert!(cut([], 10).is_empty());
        assert_eq!(cut([10, 1, 9, 5], 10), [0..1, 1..3, 3..4]);
        assert_eq!(cut([1, 30, 1], 10), [0..2, 2..3]);
        assert_eq!(
            [1 << 10, 1 << 20, 1 << 30].map(bucket),
            [1 << 14, 1 << 16, BUCKET]
        );
    }

    #[test]
    fn a_bucket_leaves_when_it_and_those_before_are_full() {
        let vars: Vec<Var> = [1 << 14, 1 << 14, 2, 3]
            .map(|n| Var::zeros(n, DType::F32, &Device::Cpu).unwrap())
            .into();
        let variables: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let mut buckets = Buckets::new(variables.clone());
        let ones = |v: &Tensor| v.ones_like().unwrap();
        buckets.put(&variables[1], ones(&variables[1])).unwrap();
        assert!(buckets.next_full().is_none(), "the first is not full");
        buckets.put(&variables[0], ones(&variables[0])).unwrap();
        assert_eq!(buckets.next_full().unwrap().len(), 1);
        assert_eq!(buckets.next_full().unwrap().len(), 1);
        buckets.put(&variables[3], ones(&variables[3])).unwrap();
        assert!(buckets.next_full().is_none());
        let last = buckets.next_partial().unwrap().unwrap();
        assert_eq!(last[0].to_vec1::<f32>().unwrap(), [0.0; 2]);
        assert_eq!(last[1].to_vec1::<f32>().unwrap(), [1.0; 3]);
        assert!(buckets.next_partial().unwrap().is_none());
        let present: Vec<bool> = buckets.present().map(|v| v.is_some()).collect();
        assert_eq!(present, [true, true, false, true]);
        assert!(buckets.put(&variables[3], ones(&variables[3])).is_err());
    }
}
