//! Batches, read ahead of the step by a thread of their own.

use std::ops::ControlFlow;
use std::time::Duration;

use candle_core::{Device, Tensor};
use cytoself_io::Split;

use super::augment::Symmetry;
use super::data::TrainingData;
use super::read_ahead::read_ahead;
use super::share::Share;
use crate::ModelError;
use crate::config::AugmentationGroup;
use crate::feed::{Crop, Feed, Load};
use crate::random::{Stream, Use};

/// Images and labels of one step.
pub(super) struct Batch {
    pub(super) images: Tensor,
    pub(super) labels: Tensor,
    /// Which part of the batch they are.
    pub(super) share: Share,
}

/// Which batches an epoch has: a function of the seed and the epoch alone, so that any batch can be made again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) split: Split,
    pub(super) batch: usize,
    pub(super) seed: u64,
    pub(super) epoch: u64,
    pub(super) shuffle: bool,
    pub(super) augmentation: AugmentationGroup,
    /// The rank that reads, and how many there are: each reads its share of every batch.
    pub(super) rank: [usize; 2],
}

impl Plan {
    /// The rows of the epoch in the order of training.
    fn rows(&self, data: &TrainingData) -> Vec<usize> {
        let mut rows = data.rows(self.split).to_vec();
        if self.shuffle {
            Stream::new(self.seed, Use::Shuffle, &[self.epoch, self.split as u64])
                .shuffle(&mut rows);
        }
        rows
    }

    /// Batches of the epoch; the last may be smaller.
    pub(super) fn batches(&self, data: &TrainingData) -> usize {
        data.rows(self.split).len().div_ceil(self.batch)
    }

    /// This rank's share of a batch of `rows`.
    fn share(&self, rows: &[usize]) -> Share {
        Share::new(rows.len(), self.rank[0], self.rank[1])
    }

    /// The most crops that this rank reads of a batch of an epoch with `rows` rows.
    fn share_size(&self, rows: usize) -> usize {
        let batch = self.batch.min(rows);
        batch.div_ceil(self.rank[1].max(1)).max(1)
    }

    fn load(&self, data: &TrainingData, rows: &[usize], feed: &Feed) -> Result<Load, ModelError> {
        let rows = self.share(rows).of(rows);
        let [h, w] = data.crop_shape();
        let crop = |&row: &usize| Crop {
            symmetry: Symmetry::draw(self.augmentation, h == w, self.seed, self.epoch, row as u64),
            label: data.label(row),
        };
        let crops: Vec<Crop> = rows.iter().map(crop).collect();
        feed.load(&crops, |pixels| data.read_into(rows, pixels))
    }
}

/// Hands the batches of an epoch from `first` on to `step`, while a thread reads the next ones. Adds to `wait` the time that
/// the steps waited for the thread.
///
/// # Errors
/// - a crop cannot be read;
/// - whatever `step` returns.
pub(super) fn for_each_batch(
    data: &TrainingData,
    plan: &Plan,
    first: usize,
    device: &Device,
    wait: &mut Duration,
    mut step: impl FnMut(usize, Batch) -> Result<ControlFlow<()>, ModelError>,
) -> Result<ControlFlow<()>, ModelError> {
    let rows = plan.rows(data);
    let [h, w] = data.crop_shape();
    let largest = plan.share_size(rows.len());
    let feed = Feed::new(device, largest, [data.channels().len(), h, w])?;
    let load = |index: usize| plan.load(data, chunk(&rows, index, plan.batch), &feed);
    read_ahead(first..plan.batches(data), load, wait, |index, loaded| {
        let (images, labels) = feed.take(loaded)?;
        let share = plan.share(chunk(&rows, index, plan.batch));
        let batch = Batch {
            images,
            labels,
            share,
        };
        step(index, batch)
    })
}

/// Rows of batch `index`; the last batch may be smaller.
pub(crate) fn chunk(rows: &[usize], index: usize, batch: usize) -> &[usize] {
    &rows[index * batch..rows.len().min((index + 1) * batch)]
}
