//! The baseline's representations.

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::time::Duration;

use candle_core::{Device, Tensor};
use cytoself_io::CropSource;
use ndarray::{Array2, ArrayView4};

use super::folder::InpaintingFolder;
use super::network::InpaintingModel;
use crate::ModelError;
use crate::training::data::refuse_no_numbers;
use crate::training::loader::chunk;
use crate::training::read_ahead::read_ahead;

/// The layers whose activations are the features, by their names in an embedding store.
pub const FEATURES: [&str; 3] = ["conv3", "conv4", "conv5"];

/// A trained baseline that turns crops into features: the largest activation of every map of [`FEATURES`].
///
/// # References
/// Lu et al. 2019, doi:10.1371/journal.pcbi.1007348, "Feature representations".
pub struct InpaintingEmbedder {
    model: InpaintingModel,
}

impl InpaintingEmbedder {
    /// The last weights of a baseline's folder.
    ///
    /// # Errors
    /// - the folder is no baseline's, or its files do not fit each other.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let folder = InpaintingFolder::open(path)?;
        let (weights, _) = folder.tensors()?;
        let model = InpaintingModel::with_weights(&folder.config()?, &weights, &Device::Cpu)?;
        Self::new(&model)
    }

    /// Features of a network that is already in memory.
    ///
    /// # Errors
    /// - a tensor cannot be made.
    pub fn new(model: &InpaintingModel) -> Result<Self, ModelError> {
        Ok(Self {
            model: model.frozen()?,
        })
    }

    /// The network.
    #[must_use]
    pub fn model(&self) -> &InpaintingModel {
        &self.model
    }

    /// Length of each of [`FEATURES`].
    #[must_use]
    pub fn widths(&self) -> [usize; 3] {
        self.model.feature_widths()
    }

    /// Features of images in memory, `[n, 1 + m, h, w]`: an array `[n, width]` per layer.
    ///
    /// # Errors
    /// - the images do not have the network's shape.
    pub fn embed(&self, images: ArrayView4<'_, f32>) -> Result<[Array2<f32>; 3], ModelError> {
        let pixels: Vec<f32> = images.iter().copied().collect();
        self.values(pixels, images.dim())
    }

    /// Streams the features of `rows` of `source` into `sink`, `batch` crops at a time, in order; memory does not depend on the
    /// number of rows.
    ///
    /// # Errors
    /// - the source lacks a channel, its crops have another size, or one cannot be read;
    /// - [`ModelError::Cancelled`]: `progress` broke off;
    /// - whatever `sink` returns.
    pub fn run(
        &self,
        source: &dyn CropSource,
        rows: &[usize],
        batch: usize,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
        sink: &mut dyn FnMut(Range<usize>, [Array2<f32>; 3]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let names = self.model.config().channels();
        let channels =
            source.channel_indices(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let (batch, [h, w]) = (batch.max(1), source.crop_shape());
        let normalization = self.model.config().normalization;
        let read = |index: usize| -> Result<Vec<f32>, ModelError> {
            let rows = chunk(rows, index, batch);
            let mut pixels = vec![0.0; rows.len() * channels.len() * h * w];
            source.read_into(rows, &channels, &mut pixels)?;
            refuse_no_numbers(source, rows, &pixels)?;
            normalization.apply(&mut pixels, &names, h * w);
            Ok(pixels)
        };
        let mut wait = Duration::ZERO;
        let flow = read_ahead(
            0..rows.len().div_ceil(batch),
            read,
            &mut wait,
            |index, pixels| {
                let places = index * batch..rows.len().min((index + 1) * batch);
                let shape = (places.len(), channels.len(), h, w);
                let done = places.end as u64;
                sink(places, self.values(pixels, shape)?)?;
                Ok(progress(done, rows.len() as u64))
            },
        )?;
        if flow.is_break() {
            return Err(ModelError::Cancelled {
                kept: "nothing".to_string(),
            });
        }
        Ok(())
    }

    fn values(
        &self,
        pixels: Vec<f32>,
        shape: (usize, usize, usize, usize),
    ) -> Result<[Array2<f32>; 3], ModelError> {
        let images = Tensor::from_vec(pixels, shape, self.model.device())?;
        let found = self.model.features(&images)?;
        let mut arrays: [Array2<f32>; 3] = Default::default();
        for ((array, values), width) in arrays.iter_mut().zip(found).zip(self.widths()) {
            let count = values.len();
            *array = Array2::from_shape_vec((shape.0, width), values).map_err(|e| {
                ModelError::Shape {
                    what: "features".to_string(),
                    expected: vec![shape.0, width],
                    found: vec![count],
                    hint: e.to_string(),
                }
            })?;
        }
        Ok(arrays)
    }
}
