//! The cytoself VQ-VAE-2: split EfficientNet encoders, split quantisation, protein identification, training and embedding.
//!
//! Use this crate to train the network on crops, to load trained weights (ours, or a PyTorch state dict) and to embed
//! images. [`Config`] names a network and its training, [`Model`] is the network, [`Trainer`] runs the paper's protocol
//! into a model folder, [`Embedder`] turns crops into representations, [`ops`] are the operations underneath.
//!
//! # Example
//! Build a network, load weights, embed an array; `model.pt` may be a state dict that PyTorch saved.
//! ```
//! use std::path::Path;
//!
//! use candle_core::Device;
//! use cytoself_model::{Config, Embedder, EmbeddingValues, Model, Weights};
//! use ndarray::Array4;
//!
//! # let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/micro");
//! # let file = dir.join("model.safetensors");
//! // The network's settings: a preset, changed where needed.
//! let mut config = Config::preset("torch-micro")?.model;
//! config.channels = vec!["pro".into(), "nuc".into()];
//!
//! // The weights know how many proteins the heads tell apart.
//! let weights = Weights::read(&file)?;
//! config.classes = weights.classes().unwrap_or(0);
//! let model = Model::with_weights(&config, &weights, &Device::Cpu)?;
//!
//! // Four crops of two channels, 40x40 px, values as the network sees them.
//! let crops = Array4::from_shape_fn((4, 2, 40, 40), |(n, c, y, x)| ((n + c + y * x) % 7) as f32 / 7.0);
//! let embedder = Embedder::new(&model)?;
//! let outputs = ["vqvec2".parse()?, "vqind2".parse()?];
//! let values = embedder.embed(crops.view(), &outputs)?;
//!
//! // Global representations: one line per crop, flat (channel, h, w); and the codes they are made of.
//! let EmbeddingValues::Dense(vectors) = &values[0] else { unreachable!() };
//! let EmbeddingValues::Indices(codes) = &values[1] else { unreachable!() };
//! assert_eq!(vectors.dim(), (4, 24 * 3 * 3));
//! assert_eq!(codes.dim(), (4, 3 * 3 * 3));
//! # Ok::<(), cytoself_model::ModelError>(())
//! ```
//!
//! [`InpaintingModel`] is the baseline that the paper compares with, trained on the same crops.
//!
//! # References
//! Kobayashi, Cheveralls, Leonetti, Royer: Self-supervised deep learning encodes high-resolution features of protein
//! subcellular localization (2022), doi:10.1038/s41592-022-01541-z.

mod config;
mod device;
mod embed;
mod error;
mod exact;
mod feed;
mod inpainting;
mod layers;
mod loss;
mod measures;
mod metrics;
mod model;
pub mod ops;
mod parameters;
mod random;
mod softmax_loss;
mod training;
mod weights;

pub use config::*;
pub use device::open_device;
pub use embed::{Embedder, EmbeddingBlock, EmbeddingValues, OutputKind, OutputName};
pub use error::ModelError;
pub use feed::{Crop, Feed, Load};
pub use inpainting::{
    FEATURES, InpaintingConfig, InpaintingEmbedder, InpaintingFolder, InpaintingModel,
    InpaintingObserver, InpaintingOutcome, InpaintingRow, InpaintingTrainer,
};
pub use layers::{Noise, Pass};
pub use loss::LossWeights;
pub use measures::Measures;
pub use metrics::{EXTRA_METRICS, METRICS, MeanMetrics, Metrics};
pub use model::{Forward, Level, Model};
pub use parameters::{Kind, Parameter, Parameters};
#[cfg(feature = "candle-cuda")]
pub use training::GraphSteps;
#[cfg(feature = "mpi")]
pub use training::Mpi;
pub use training::{
    Alone, Collectives, Ending, EpochReport, EventWriter, History, HistoryRow, ModelFolder,
    Placement, Schedule, StepMemory, Symmetry, Threads, Trainer, TrainingData, TrainingObserver,
    TrainingOutcome, TrainingState, Verdict, agree, check_alike,
};
pub use weights::{Weights, metadata, save};
