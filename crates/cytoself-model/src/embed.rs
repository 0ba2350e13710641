//! Crops in, representations out, in constant memory.

mod fetch;
#[cfg(feature = "candle-cuda")]
mod graph;
mod output;

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::mpsc::sync_channel;
#[cfg(feature = "candle-cuda")]
use std::sync::{Mutex, PoisonError};
use std::thread;

use candle_core::{Device, Tensor};
use cytoself_io::CropSource;
use ndarray::{Array2, ArrayView4};

use fetch::Fetcher;
use output::{Computed, Started};
pub use output::{OutputKind, OutputName};

use crate::ModelError;
use crate::feed::{Crop, Feed, Load};
use crate::layers::Pass;
use crate::model::{Level, Model};
use crate::training::ModelFolder;
use crate::training::data::refuse_no_numbers;

/// Levels that may quantise.
const LEVELS: usize = 2;

/// Batches that may wait for the network.
const AHEAD: usize = 2;

/// Representations of consecutive crops.
#[derive(Debug, Clone)]
pub struct EmbeddingBlock {
    /// Places in the list of rows that was asked for.
    pub places: Range<usize>,
    /// One entry per output, in the order asked for.
    pub outputs: Vec<(OutputName, EmbeddingValues)>,
}

/// Values of one output, a line per crop.
#[derive(Debug, Clone)]
pub enum EmbeddingValues {
    /// Encoder outputs and quantised vectors, flat (channel, h, w); histograms, one entry per code.
    Dense(Array2<f32>),
    /// Code indices, flat (split, h, w).
    Indices(Array2<u16>),
}

/// A trained network that turns crops into representations; decoders and heads are never computed, batch norm always uses its
/// running statistics.
///
/// Differs from cytoself: there, a freshly loaded model infers in training mode, so that results depend on the batch.
pub struct Embedder {
    model: Model,
    proteins: Vec<String>,
    #[cfg(feature = "candle-cuda")]
    graph: Option<Mutex<graph::EmbedGraph>>,
}

impl Embedder {
    /// The best weights of a model folder.
    ///
    /// # Errors
    /// - the folder is no model folder, or its files do not fit each other.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        Self::open_on(folder, &Device::Cpu)
    }

    /// As [`Embedder::open`], on a device that [`open_device`](crate::open_device) has opened.
    ///
    /// # Errors
    /// As [`Embedder::open`].
    pub fn open_on(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let folder = ModelFolder::open(folder)?;
        let config = folder.config()?;
        let model = Model::with_weights(&config.model, &folder.best()?, device)?;
        Ok(Self {
            model: model.settled()?,
            proteins: folder.proteins()?,
            #[cfg(feature = "candle-cuda")]
            graph: None,
        })
    }

    /// Embeds with a network that is already in memory, [settled](Model::settled) with the weights that it has now.
    ///
    /// # Errors
    /// - a tensor cannot be made;
    /// - a code is NaN or infinite.
    pub fn new(model: &Model) -> Result<Self, ModelError> {
        Ok(Self {
            model: model.settled()?,
            proteins: Vec::new(),
            #[cfg(feature = "candle-cuda")]
            graph: None,
        })
    }

    /// Lets the GPU replay batches as a CUDA graph, which spares the host their launches. The first batch of a size is computed as ever, the
    /// second in a row captured, the results are the same to the bit; where the driver cannot capture, `told` gets a line and all batches
    /// are computed as ever.
    ///
    /// # Errors
    /// - the network is not on a GPU.
    pub fn with_cuda_graph(
        self,
        told: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        #[cfg(feature = "candle-cuda")]
        if let Device::Cuda(device) = self.model.device() {
            let graph = graph::EmbedGraph::new(device.clone(), Box::new(told));
            return Ok(Self {
                graph: Some(Mutex::new(graph)),
                ..self
            });
        }
        let _ = told;
        Err(no_gpu_for_a_graph())
    }

    /// The network.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The proteins that the network was trained on, as far as the model folder names them.
    #[must_use]
    pub fn proteins(&self) -> &[String] {
        &self.proteins
    }

    /// Representations of images in memory.
    ///
    /// # Shapes
    /// `images: [n, c, h, w]` at network scale, channels in the order of the network's settings; one value per output.
    ///
    /// # Errors
    /// - the images do not have the network's shape.
    pub fn embed(
        &self,
        images: ArrayView4<f32>,
        outputs: &[OutputName],
    ) -> Result<Vec<EmbeddingValues>, ModelError> {
        let pixels: Vec<f32> = images.iter().copied().collect();
        let images = Tensor::from_vec(pixels, images.dim(), self.model.device())?;
        // Locking memory for a single batch takes longer than it spares.
        let fetcher = Fetcher::new(&Device::Cpu, 0)?;
        let again = |images: &Tensor| self.compute(images, outputs);
        self.start(&images, outputs, &fetcher)?.finish(again)
    }

    /// Streams the representations of `rows` of `source` into `sink`, `batch` crops at a time, in order.
    ///
    /// Memory does not depend on the number of rows. A thread reads the next crops while the network works; a GPU works on the next batch
    /// while `sink` has the last.
    ///
    /// # Errors
    /// - the source lacks a channel of the network, or its crops have another size;
    /// - a crop cannot be read;
    /// - [`ModelError::Cancelled`]: `progress` broke off;
    /// - whatever `sink` returns.
    pub fn run(
        &self,
        source: &dyn CropSource,
        rows: &[usize],
        outputs: &[OutputName],
        batch: usize,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
        sink: &mut dyn FnMut(EmbeddingBlock) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let config = self.model.config();
        let names: Vec<&str> = config.channels.iter().map(String::as_str).collect();
        let channels = source.channel_indices(&names)?;
        let batch = batch.max(1);
        let [h, w] = source.crop_shape();
        let shape = [channels.len(), h, w];
        let feed = Feed::new(self.model.device(), batch.min(rows.len().max(1)), shape)?;
        let read = |rows: &[usize]| -> Result<Load, ModelError> {
            feed.load(&vec![Crop::default(); rows.len()], |pixels| {
                source.read_into(rows, &channels, pixels)?;
                refuse_no_numbers(source, rows, pixels)?;
                config.normalization.apply(pixels, &config.channels, h * w);
                Ok(())
            })
        };
        // The processor has done its work when it returns.
        let behind = usize::from(!self.model.device().is_cpu());
        let each = outputs.len() + LEVELS;
        let fetcher = Fetcher::new(self.model.device(), (behind + 1) * each)?;
        thread::scope(|scope| {
            let (sender, receiver) = sync_channel(AHEAD);
            let read = &read;
            scope.spawn(move || {
                for rows in rows.chunks(batch) {
                    // The receiver is gone when a batch failed or the user stopped.
                    if sender.send(read(rows)).is_err() {
                        return;
                    }
                }
            });
            let (mut done, mut under_way) = (0, VecDeque::new());
            let mut deliver = |(places, started): (Range<usize>, Started)| {
                let done = places.end;
                let values = started.finish(|images| self.compute(images, outputs))?;
                let outputs = outputs.iter().copied().zip(values).collect();
                sink(EmbeddingBlock { places, outputs })?;
                if progress(done as u64, rows.len() as u64).is_break() {
                    return Err(ModelError::Cancelled {
                        kept: "nothing".to_string(),
                    });
                }
                Ok(())
            };
            for load in receiver {
                let (images, _) = feed.take(load?)?;
                let places = done..done + images.dim(0)?;
                done = places.end;
                under_way.push_back((places, self.start(&images, outputs, &fetcher)?));
                if under_way.len() > behind
                    && let Some(block) = under_way.pop_front()
                {
                    deliver(block)?;
                }
            }
            under_way.into_iter().try_for_each(deliver)
        })
    }

    /// Computes the outputs of a batch and sends them on their way to the host.
    fn start(
        &self,
        images: &Tensor,
        outputs: &[OutputName],
        fetcher: &Fetcher,
    ) -> Result<Started, ModelError> {
        #[cfg(feature = "candle-cuda")]
        if let Some(graph) = &self.graph {
            let mut graph = graph.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(computed) = graph.compute(self, images, outputs)? {
                // Before the next batch, which overwrites them, is computed.
                return computed.send(fetcher);
            }
        }
        let compute = || self.compute(images, outputs);
        // From within the pool: every operation asked for from outside would wake a thread and wait for it.
        let computed = match images.device() {
            Device::Cpu => rayon::scope(|_| compute()),
            _ => compute(),
        };
        computed?.send(fetcher)
    }

    /// The outputs of a batch, where the network is.
    fn compute(&self, images: &Tensor, outputs: &[OutputName]) -> Result<Computed, ModelError> {
        let pass = Pass::evaluate();
        let global = outputs.iter().any(|o| o.level() == 2);
        let local = outputs
            .iter()
            .any(|o| o.level() == 1 && o.kind() != OutputKind::Encoder);
        let encoded1 = self.model.encode(images, 1, &pass)?;
        let level2 = if global {
            Some(self.model.embed_global(&encoded1, &pass)?)
        } else {
            None
        };
        let level1 = if local {
            self.model.embed_local(encoded1)?
        } else {
            Level {
                encoded: encoded1,
                quantized: None,
            }
        };
        let of = |output: &OutputName| match (output.level(), &level2) {
            (2, Some(level2)) => (*output, level2),
            _ => (*output, &level1),
        };
        let wanted: Vec<_> = outputs.iter().map(of).collect();
        Computed::new(&wanted, level2.iter().chain([&level1]))
    }
}

/// What is said to whoever wants a CUDA graph without a GPU.
pub(crate) fn no_gpu_for_a_graph() -> ModelError {
    ModelError::config("CUDA graph", "a GPU (device cuda)", "the processor")
}
