//! Which crops are trained on, and what they are called.

use std::ops::ControlFlow;

use cytoself_io::{CropSource, CropTable, Split, check_finite};

use crate::ModelError;
use crate::config::InputNormalization;

/// Crops of a source with their labels and their use.
pub struct TrainingData<'a> {
    source: &'a dyn CropSource,
    channels: Vec<usize>,
    channel_names: Vec<String>,
    labels: Vec<u32>,
    proteins: Vec<String>,
    rows: [Vec<usize>; 3],
    normalization: InputNormalization,
}

impl<'a> TrainingData<'a> {
    /// Takes the channels `channels` of `source`; `splits` has one entry per crop, `None` leaves a crop out. Proteins are
    /// numbered in the order of their sorted names; those of `proteins` if given.
    ///
    /// # Errors
    /// - the source lacks a channel or the column `protein`;
    /// - a training crop's protein is not among `proteins`;
    /// - there is no training or no validation crop.
    pub fn new(
        source: &'a dyn CropSource,
        channels: &[String],
        splits: &[Option<Split>],
        proteins: Option<Vec<String>>,
    ) -> Result<Self, ModelError> {
        let table = source.table();
        let Some(column) = table.text("protein") else {
            let found = table.columns().collect::<Vec<_>>().join(", ");
            return Err(data(
                "the column protein",
                found,
                "every crop needs the name of its protein",
            ));
        };
        if splits.len() != table.len() {
            return Err(data(
                &format!("{} splits, one per crop", table.len()),
                splits.len().to_string(),
                "check the split",
            ));
        }
        let names: Vec<&str> = channels.iter().map(String::as_str).collect();
        let indices = source.channel_indices(&names)?;
        let used = (0..table.len()).filter(|&r| splits[r].is_some());
        let proteins = proteins.unwrap_or_else(|| {
            let set: std::collections::BTreeSet<&str> = used.map(|r| column.get(r)).collect();
            set.into_iter().map(str::to_string).collect()
        });
        let mut labels = vec![u32::MAX; table.len()];
        let mut rows: [Vec<usize>; 3] = Default::default();
        for (row, split) in splits.iter().enumerate() {
            let Some(split) = split else { continue };
            let name = column.get(row);
            let Ok(label) = proteins.binary_search_by(|p| p.as_str().cmp(name)) else {
                return Err(data(
                    "the proteins of the model",
                    name.to_string(),
                    "the model was trained on other proteins",
                ));
            };
            labels[row] = label as u32;
            rows[*split as usize].push(row);
        }
        for split in [Split::Train, Split::Validation] {
            if rows[split as usize].is_empty() {
                return Err(data(
                    &format!("crops of the split {split}"),
                    "none".to_string(),
                    "give a split.csv, or data with more fields",
                ));
            }
        }
        Ok(Self {
            source,
            channels: indices,
            channel_names: channels.to_vec(),
            labels,
            proteins,
            rows,
            normalization: InputNormalization::None,
        })
    }

    /// Normalises the crops on reading; must be what the network's settings say.
    #[must_use]
    pub fn normalized(self, normalization: InputNormalization) -> Self {
        Self {
            normalization,
            ..self
        }
    }

    /// What is done to the crops on reading.
    #[must_use]
    pub fn normalization(&self) -> InputNormalization {
        self.normalization
    }

    /// Names of the proteins, sorted; their place is the label.
    #[must_use]
    pub fn proteins(&self) -> &[String] {
        &self.proteins
    }

    /// Names of the channels.
    #[must_use]
    pub fn channels(&self) -> &[String] {
        &self.channel_names
    }

    /// Rows of the source in a split.
    #[must_use]
    pub fn rows(&self, split: Split) -> &[usize] {
        &self.rows[split as usize]
    }

    /// Height and width of a crop in px.
    #[must_use]
    pub fn crop_shape(&self) -> [usize; 2] {
        self.source.crop_shape()
    }

    /// The table of the source.
    pub(crate) fn table(&self) -> &CropTable {
        self.source.table()
    }

    /// Number of values of a crop.
    pub(crate) fn crop_values(&self) -> usize {
        let [h, w] = self.crop_shape();
        self.channels.len() * h * w
    }

    /// The label of a row.
    pub(crate) fn label(&self, row: usize) -> u32 {
        self.labels[row]
    }

    /// Pixels of rows, `[rows, c, h, w]`.
    pub(crate) fn read(&self, rows: &[usize]) -> Result<Vec<f32>, ModelError> {
        let mut pixels = vec![0.0; rows.len() * self.crop_values()];
        self.read_into(rows, &mut pixels)?;
        Ok(pixels)
    }

    /// As [`TrainingData::read`], into memory of the caller's.
    pub(crate) fn read_into(&self, rows: &[usize], pixels: &mut [f32]) -> Result<(), ModelError> {
        self.source.read_into(rows, &self.channels, pixels)?;
        refuse_no_numbers(self.source, rows, pixels)?;
        let [h, w] = self.crop_shape();
        self.normalization.apply(pixels, &self.channel_names, h * w);
        Ok(())
    }
}

/// Names the first pixel of `rows` that is no finite number, if `pixels`, which were read from them, hold one.
pub(crate) fn refuse_no_numbers(
    source: &dyn CropSource,
    rows: &[usize],
    pixels: &[f32],
) -> Result<(), ModelError> {
    if pixels.iter().all(|p| p.is_finite()) {
        return Ok(());
    }
    Ok(check_finite(source, rows, &mut |_, _| {
        ControlFlow::Continue(())
    })?)
}

fn data(expected: &str, found: String, hint: &str) -> ModelError {
    ModelError::Data {
        expected: expected.to_string(),
        found,
        hint: hint.to_string(),
    }
}
