//! Whole ways: batches to the device, a training and an embedding on it.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use candle_core::{Device, Tensor};
use cytoself_io::{CropSource, CropTable, IoError, Split};
use cytoself_model::ops::RngKey;
use cytoself_model::{
    Config, Crop, Embedder, EmbeddingValues, EpochReport, Feed, Model, ModelError, ModelFolder,
    OutputName, Placement, Symmetry, Trainer, TrainingData, TrainingObserver,
};

use super::{Failure, Found};

/// Batches of one to `BATCH` crops, more than a feed has memory for.
const BATCHES: usize = 9;
const BATCH: usize = 4;

/// What arrives on the device; all tensors live to the end, so that a batch that overwrites another is seen.
pub(crate) fn feed(device: &Device) -> Result<Found, Failure> {
    let mut found = Found::new();
    for (name, shape) in [("square", [2, 7, 7]), ("not square", [3, 5, 9])] {
        let feed = Feed::new(device, BATCH, shape)?;
        let (sender, receiver) = sync_channel(BATCHES);
        let arrived: Vec<(Tensor, Tensor)> = thread::scope(|scope| {
            let feed = &feed;
            scope.spawn(move || {
                for batch in 0..BATCHES {
                    if sender.send(load(feed, batch, shape)).is_err() {
                        return;
                    }
                }
            });
            let taken = receiver.into_iter().map(|load| feed.take(load?));
            taken.collect::<Result<_, ModelError>>()
        })?;
        for (batch, (images, labels)) in arrived.into_iter().enumerate() {
            found.push((format!("{name}, images {batch}"), images));
            let labels = labels.to_device(&Device::Cpu)?;
            let labels = labels.to_dtype(candle_core::DType::F32)?;
            found.push((format!("{name}, labels {batch}"), labels));
        }
    }
    Ok(found)
}

/// Every third batch is turned in no way; of the others, crops in all ways.
fn load(feed: &Feed, batch: usize, shape: [usize; 3]) -> Result<cytoself_model::Load, ModelError> {
    let crop = |i: usize| {
        let way = if batch.is_multiple_of(3) {
            0
        } else {
            batch + i
        };
        Crop {
            symmetry: Symmetry {
                transpose: way & 4 != 0 && shape[1] == shape[2],
                flip_rows: way & 1 != 0,
                flip_columns: way & 2 != 0,
            },
            label: (10 * batch + i) as u32,
        }
    };
    let crops: Vec<Crop> = (0..=batch % BATCH).map(crop).collect();
    feed.load(&crops, |pixels| {
        random(batch as u64, pixels);
        Ok(())
    })
}

fn random(stream: u64, values: &mut [f32]) {
    let key = RngKey {
        seed: 3,
        stream,
        step: 0,
    };
    key.fill_uniform(0, values);
}

/// The measures of every epoch of a small training with all symmetries.
pub(crate) fn training(device: &Device) -> Result<Found, Failure> {
    trained(Placement::on(device.clone()), 1)
}

/// As [`training`], of two epochs, with the weights, and with steps that are replayed as a CUDA graph or not.
pub(crate) fn graph_training(device: &Device, cuda_graph: bool) -> Result<Found, Failure> {
    trained(Placement::on(device.clone()).with_cuda_graph(cuda_graph), 2)
}

fn trained(placement: Placement, epochs: usize) -> Result<Found, Failure> {
    let mut config = Config::preset("torch-micro")?;
    // Seven of them train.
    let crops = Crops::new(11, &config.model.channels);
    config.model.classes = Crops::PROTEINS;
    config.training.batch = 3;
    config.training.epochs = epochs;
    config.training.augmentation = cytoself_model::AugmentationGroup::Dihedral;
    if epochs > 1 {
        // What changes from step to step, and what is read besides the measures.
        config.training.schedule.warmup_steps = 3;
        config.model.levels[0].quantizer.revive_after = 2;
    }
    let data = TrainingData::new(&crops, &config.model.channels, &crops.splits(), None)?;
    let data = data.normalized(config.model.normalization);
    let folder = Folder::new()?;
    let mut trainer = Trainer::start_at(&folder.0, config, &data, &placement)?;
    let mut quiet = Quiet::default();
    trainer.run(&mut quiet)?;
    if let Some(text) = quiet.notice {
        return Err(text.into());
    }
    let mut found = Found::new();
    for row in &trainer.state().history.rows {
        for (split, measures) in [("train", &row.train), ("val", &row.validation)] {
            for (name, value) in measures.iter() {
                let value = Tensor::new(value as f32, &Device::Cpu)?;
                found.push((format!("{name}, {split}, epoch {}", row.epoch), value));
            }
        }
    }
    if epochs > 1 {
        let weights = ModelFolder::open(&folder.0)?.last()?;
        let mut weights: Vec<_> = weights.tensors().iter().collect();
        weights.sort_by_key(|(name, _)| name.as_str());
        for (name, values) in weights {
            found.push((name.clone(), values.to_dtype(candle_core::DType::F32)?));
        }
    }
    Ok(found)
}

/// All outputs of more crops than fit a batch, in batches that are replayed as a CUDA graph or not.
pub(crate) fn graph_embedding(device: &Device, cuda_graph: bool) -> Result<Found, Failure> {
    let outputs = ["encoder2", "vqvec1", "vqind2", "vqindhist1"];
    embedded(device, &outputs, cuda_graph)
}

/// The encoder's outputs of more crops than fit a batch.
pub(crate) fn embedding(device: &Device) -> Result<Found, Failure> {
    embedded(device, &["encoder1", "encoder2"], false)
}

fn embedded(device: &Device, outputs: &[&str], cuda_graph: bool) -> Result<Found, Failure> {
    let mut config = Config::preset("torch-micro")?.model;
    let crops = Crops::new(11, &config.channels);
    config.classes = Crops::PROTEINS;
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut embedder = Embedder::new(&Model::new(&config, 5, device)?)?;
    if cuda_graph {
        let told = Arc::clone(&told);
        embedder = embedder.with_cuda_graph(move |text| {
            told.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(text.to_string());
        })?;
    }
    let outputs = outputs.iter().map(|name| name.parse());
    let outputs: Vec<OutputName> = outputs.collect::<Result<_, _>>()?;
    let rows: Vec<usize> = (0..crops.table.len()).rev().collect();
    let mut found = Found::new();
    let mut progress = |_, _| ControlFlow::Continue(());
    embedder.run(&crops, &rows, &outputs, 2, &mut progress, &mut |block| {
        for (name, values) in block.outputs {
            let (shape, values): (_, Vec<f32>) = match values {
                EmbeddingValues::Dense(values) => (values.dim(), values.into_iter().collect()),
                EmbeddingValues::Indices(codes) => {
                    (codes.dim(), codes.into_iter().map(f32::from).collect())
                }
            };
            let values = Tensor::from_vec(values, shape, &Device::Cpu)?;
            found.push((format!("{name}, crops from {}", block.places.start), values));
        }
        Ok(())
    })?;
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    match told.first() {
        Some(text) => Err(text.as_str().into()),
        None => Ok(found),
    }
}

/// Random crops in memory, of the size of `torch-micro`.
pub(crate) struct Crops {
    table: CropTable,
    channels: Vec<String>,
}

impl Crops {
    pub(crate) const PROTEINS: usize = 3;
    const SIDE: usize = 40;

    pub(crate) fn new(count: usize, channels: &[String]) -> Self {
        let mut table = CropTable::new();
        for row in 0..count {
            let protein = format!("P{}", row % Self::PROTEINS);
            // Columns of text: nothing to refuse.
            let _ = table.push(&[("protein", protein.as_str().into())]);
        }
        Self {
            table,
            channels: channels.to_vec(),
        }
    }

    pub(crate) fn splits(&self) -> Vec<Option<Split>> {
        let of = |row| match row % 11 {
            0..7 => Split::Train,
            7..9 => Split::Validation,
            _ => Split::Test,
        };
        (0..self.table.len()).map(|row| Some(of(row))).collect()
    }
}

impl CropSource for Crops {
    fn table(&self) -> &CropTable {
        &self.table
    }

    fn channels(&self) -> &[String] {
        &self.channels
    }

    fn crop_shape(&self) -> [usize; 2] {
        [Self::SIDE; 2]
    }

    fn read_into(
        &self,
        rows: &[usize],
        channels: &[usize],
        out: &mut [f32],
    ) -> Result<(), IoError> {
        let planes = out.chunks_exact_mut(Self::SIDE * Self::SIDE);
        let places = rows
            .iter()
            .flat_map(|r| channels.iter().map(move |c| (r, c)));
        for (plane, (row, channel)) in planes.zip(places) {
            random((row * self.channels.len() + channel) as u64, plane);
        }
        Ok(())
    }
}

/// Hears what a training says instead of doing what it was asked for.
#[derive(Default)]
pub(crate) struct Quiet {
    pub(crate) notice: Option<String>,
}

impl TrainingObserver for Quiet {
    fn batch(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn notice(&mut self, text: &str) {
        self.notice = Some(text.to_string());
    }

    fn epoch(&mut self, _: &EpochReport<'_>) {}
}

/// A folder of its own, removed in the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self, Failure> {
        let name = format!("cytoself-ops-gpu-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind is in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
