//! HDF5 weights of cytoself's TensorFlow release, with PyTorch's names and layouts.

mod names;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, Hdf5File, OpenOptions};

use self::names::{Block, Place, Turn, place};
use crate::ModelError;
use crate::config::{Activity, DecoderStyle, FlattenOrder, ModelConfig, PaddingRule, Upsampling};

/// The group of a whole saved model that holds what `save_weights` writes alone.
const WHOLE_MODEL: &str = "model_weights";

/// Groups within groups; Keras makes four of them.
const DEPTH: usize = 8;

/// The largest tensor that is read, in bytes: several times the largest of the release (160 MB).
const LARGEST: usize = 1 << 31;

/// Tensors by PyTorch's names, and the dataset that each came from.
pub(super) struct Imported {
    pub(super) tensors: HashMap<String, Tensor>,
    pub(super) datasets: HashMap<String, String>,
}

/// Reads what Keras' `save_weights` (or `save`) wrote for cytoself's model of TensorFlow.
///
/// # References
/// The layout of the file is that of `keras.engine.saving` (a group per layer, a dataset per weight); the layers' names are those
/// of royerlab/cytoself v0.0.1.4.
pub(super) fn read(path: &Path) -> Result<Imported, ModelError> {
    std::fs::File::open(path).map_err(ModelError::file(path))?;
    let options = OpenOptions::default().with_max_read_bytes(LARGEST);
    let file = Hdf5File::open_with_options(path, options).map_err(damaged(path, "/"))?;
    let mut root = file.root_group().map_err(damaged(path, "/"))?;
    if let Ok(group) = root.group(WHOLE_MODEL) {
        root = group;
    }
    let mut found = BTreeMap::new();
    collect(path, &root, "", 0, &mut found)?;
    let known = Network::of(found.keys());
    let (mut tensors, mut datasets) = (HashMap::new(), HashMap::new());
    for (name, dataset) in &found {
        let Some(Place { name: ours, turn }) = known.place(name) else {
            return Err(ModelError::format(
                path,
                format!(
                    "dataset {name} has no place in the network; expected the weights of cytoself's full TensorFlow model (encoder1, VQ1, decoder1, fc1, ...)"
                ),
            ));
        };
        let tensor = tensor(path, name, dataset, turn)?;
        if tensors.insert(ours.clone(), tensor).is_some() {
            let message = format!("dataset {name}: {ours} is there twice");
            return Err(ModelError::format(path, message));
        }
        datasets.insert(ours, name.clone());
    }
    if tensors.is_empty() {
        return Err(ModelError::format(
            path,
            "expected weights that Keras saved, found an HDF5 file without datasets",
        ));
    }
    Ok(Imported { tensors, datasets })
}

/// Refuses a network that computes something else than TensorFlow with the same tensors.
pub(super) fn check(config: &ModelConfig) -> Result<(), ModelError> {
    let wrong = |field: &str, expected: &str, found: String| {
        let expected = format!("{expected}, as weights of TensorFlow need it (preset paper)");
        Err(ModelError::config(
            format!("model.{field}"),
            expected,
            found,
        ))
    };
    if config.padding != PaddingRule::Tensorflow {
        return wrong("padding", "tensorflow", format!("{:?}", config.padding));
    }
    if config.flatten != FlattenOrder::ChannelLast {
        return wrong("flatten", "channel-last", format!("{:?}", config.flatten));
    }
    if config.upsampling != Upsampling::BilinearLegacy {
        let found = format!("{:?}", config.upsampling);
        return wrong("upsampling", "bilinear-legacy", found);
    }
    // Keras' default.
    if config.norm.epsilon != 1e-3 {
        return wrong("norm.epsilon", "0.001", config.norm.epsilon.to_string());
    }
    for (index, level) in config.levels.iter().enumerate() {
        let decoder = &level.decoder;
        if decoder.activity != Activity::Absent && decoder.style != DecoderStyle::Double {
            let field = format!("levels[{index}].decoder.style");
            return wrong(&field, "double", format!("{:?}", decoder.style));
        }
    }
    Ok(())
}

/// All datasets below `group`, by their path.
fn collect(
    path: &Path,
    group: &Group,
    at: &str,
    depth: usize,
    found: &mut BTreeMap<String, Dataset>,
) -> Result<(), ModelError> {
    if depth > DEPTH {
        let message = format!("group {at}: groups lie in each other too deeply for Keras' weights");
        return Err(ModelError::format(path, message));
    }
    let (groups, datasets) = group.members().map_err(damaged(path, at))?;
    let below = |name: &str| {
        let name = name.rsplit('/').next().unwrap_or(name);
        if at.is_empty() {
            name.to_string()
        } else {
            format!("{at}/{name}")
        }
    };
    for dataset in datasets {
        found.insert(below(dataset.name()), dataset);
    }
    for group in groups {
        collect(path, &group, &below(group.name()), depth + 1, found)?;
    }
    Ok(())
}

fn damaged<'a>(
    path: &'a Path,
    at: &'a str,
) -> impl FnOnce(hdf5_reader::error::Error) -> ModelError + use<'a> {
    move |e| ModelError::format(path, format!("{at}: not readable as HDF5: {e}"))
}

/// What the datasets' names say about the network that they belong to.
struct Network {
    /// Blocks with an expansion, by encoder.
    expanding: BTreeSet<(usize, Block)>,
    /// Stages per encoder.
    stages: [usize; 2],
}

impl Network {
    fn of<'a>(datasets: impl Iterator<Item = &'a String>) -> Self {
        let mut network = Self {
            expanding: BTreeSet::new(),
            stages: [0; 2],
        };
        for (encoder, block, part) in datasets.filter_map(|d| names::block_of(d)) {
            network.stages[encoder] = network.stages[encoder].max(block.stage);
            if part == "expand_conv" {
                network.expanding.insert((encoder, block));
            }
        }
        network
    }

    fn place(&self, dataset: &str) -> Option<Place> {
        let expands = |encoder, block| self.expanding.contains(&(encoder, block));
        place(dataset, &self.stages, &expands)
    }
}

/// A dataset's values in PyTorch's layout.
fn tensor(path: &Path, name: &str, dataset: &Dataset, turn: Turn) -> Result<Tensor, ModelError> {
    let shape: Vec<usize> = dataset
        .shape()
        .iter()
        .map(|&n| usize::try_from(n).unwrap_or(usize::MAX))
        .collect();
    let order = turn.axes();
    if shape.len() != order.len() {
        let message = format!("dataset {name}: expected {turn}, found the shape {shape:?}");
        return Err(ModelError::format(path, message));
    }
    let values: Vec<f32> = match dataset.read_array::<f32>() {
        Ok(values) => values.into_iter().collect(),
        Err(single) => match dataset.read_array::<f64>() {
            Ok(values) => values.into_iter().map(|v| v as f32).collect(),
            Err(_) => return Err(damaged(path, name)(single)),
        },
    };
    let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?;
    Ok(tensor.permute(order)?.contiguous()?)
}
