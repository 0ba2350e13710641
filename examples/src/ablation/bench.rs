//! One training after the other, each with its embeddings and maps; what is finished is not done again.

use std::path::{Path, PathBuf};

use cytoself_io::{CropSource, EmbeddingStore, npy};
use cytoself_model::{InpaintingConfig, Variant};
use cytoself_umap::UmapParams;
use ndarray::{Array2, Ix2};

use super::{Arguments, Entry, Line};
use crate::cli::{Common, Failure};
use crate::inpainting;
use crate::model::device::DeviceArgs;
use crate::model::embed::{EmbedArgs, embed_from};
use crate::model::train::{TrainArgs, train_on};
use crate::output::Output;
use crate::points::Points;
use crate::progress::Progress;
use crate::selection::{Selection, evenly};

/// Trainings and maps of a variant are at most this many, so that no two of them share a seed.
const SEEDS: u64 = 1000;

/// Where the trainings are, and what they are made of.
pub(super) struct Bench<'a> {
    arguments: &'a Arguments,
    common: &'a Common,
    crops: &'a Selection<'a>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        common: &'a Common,
        crops: &'a Selection<'a>,
    ) -> Self {
        Self {
            arguments,
            common,
            crops,
        }
    }

    pub(super) fn arguments(&self) -> &Arguments {
        self.arguments
    }

    pub(super) fn common(&self) -> &Common {
        self.common
    }

    /// The folder of a training.
    fn folder(&self, entry: Entry, training: usize) -> PathBuf {
        let name = format!("training_{training}");
        self.arguments.out.join(entry.name()).join(name)
    }

    /// Trains, embeds and maps as far as that is not done yet.
    pub(super) fn prepare(&self, entry: Entry, training: usize) -> Result<(), Failure> {
        let folder = self.folder(entry, training);
        let context = |e: Failure| kept(e.context(folder.display()), &self.arguments.out);
        self.say(format!(
            "{entry}, training {training} of {}",
            self.arguments.trainings
        ));
        std::fs::create_dir_all(&folder).map_err(|e| context(e.into()))?;
        let embeddings = folder.join("embeddings.zarr");
        if !embeddings.exists() {
            Output::remove_stale(&embeddings)?;
            let made = match entry {
                Entry::Variant(variant) => self
                    .train(variant, &folder, training)
                    .and_then(|()| self.embed(&folder, &embeddings)),
                Entry::Inpainting => self.inpaint(&folder, &embeddings, training),
            };
            made.map_err(context)?;
        }
        for line in entry.lines() {
            for map in 1..=self.arguments.umaps {
                self.map(&line, training, map).map_err(context)?;
            }
        }
        Ok(())
    }

    /// The same flags with the seed of a part.
    fn common_of(&self, seed: u64) -> Common {
        Common {
            seed: self.common.seed + seed,
            overwrite: false,
            ..self.common.clone()
        }
    }

    fn train(&self, variant: Variant, folder: &Path, training: usize) -> Result<(), Failure> {
        let arguments = TrainArgs {
            preset: self
                .arguments
                .config
                .is_none()
                .then(|| self.arguments.preset.clone()),
            config: self.arguments.config.clone(),
            epochs: self.arguments.epochs,
            batch_size: self.arguments.batch_size,
            resume: true,
            variant: Some(variant),
            times: Some(folder.join("times.csv")),
            ..TrainArgs::new(self.arguments.data.clone(), folder.join("model"))
        };
        let common = self.common_of(training as u64 - 1);
        train_on(self.crops, &arguments, &common).map(|_| ())
    }

    fn embed(&self, folder: &Path, out: &Path) -> Result<(), Failure> {
        let arguments = EmbedArgs {
            model: folder.join("model"),
            data: self.arguments.data.clone(),
            out: out.to_path_buf(),
            outputs: vec!["vqvec2".to_string()],
            split: Some("test".to_string()),
            shard: None,
            batch_size: 32,
            device: DeviceArgs::default(),
        };
        embed_from(self.crops, &arguments, &self.common_of(0)).map(|_| ())
    }

    /// Trains the baseline for as long as the full model of the same training took, and embeds with it.
    fn inpaint(&self, folder: &Path, out: &Path, training: usize) -> Result<(), Failure> {
        let model = folder.join("model");
        let common = self.common_of(training as u64 - 1);
        let full = self.seconds(Entry::FULL, training).ok_or_else(|| {
            Failure::input("inpainting is trained for as long as the full model: give full among --variants too")
        })?;
        let config = InpaintingConfig {
            input: self.crops.crop_shape(),
            normalization: self.arguments.full_config()?.model.normalization,
            width: self.arguments.inpainting_width,
            seed: common.seed,
            // The seconds end it.
            epochs: usize::from(u16::MAX),
            seconds: Some(full),
            ..InpaintingConfig::default()
        };
        inpainting::train(self.crops, config, &model, model.is_dir(), &common)?;
        inpainting::embed(self.crops, &model, out, "test", &common)
    }

    fn map_path(&self, line: &Line, training: usize, map: usize) -> PathBuf {
        self.folder(line.entry, training)
            .join(format!("{}_umap_{map}.npy", line.representation))
    }

    fn map(&self, line: &Line, training: usize, map: usize) -> Result<(), Failure> {
        let path = self.map_path(line, training, map);
        if path.exists() {
            return Ok(());
        }
        Output::remove_stale(&path)?;
        let seed = self.common.seed + SEEDS * training as u64 + map as u64;
        let progress = Progress::new("mapping", 1000, self.common.quiet);
        let model = self
            .points(line, training)?
            .map(UmapParams::default().seed(seed), &mut |done, _| {
                progress.update(done)
            })?;
        drop(progress);
        let output = Output::file(&path, false)?;
        npy::write(output.path(), &model.embedding())?;
        output.commit()
    }

    /// The representation of the mapped crops.
    pub(super) fn points(&self, line: &Line, training: usize) -> Result<Points, Failure> {
        let path = self.folder(line.entry, training).join("embeddings.zarr");
        let store = EmbeddingStore::open(&path)?;
        let rows = evenly(store.len(), self.arguments.limit);
        Points::read(&store, line.representation, &rows)
    }

    /// The coordinates of a finished map.
    pub(super) fn read_map(
        &self,
        line: &Line,
        training: usize,
        map: usize,
    ) -> Result<Array2<f32>, Failure> {
        let path = self.map_path(line, training, map);
        npy::read_f32(&path)?
            .into_dimensionality::<Ix2>()
            .map_err(|e| Failure::from(e).context(path.display()))
    }

    /// Seconds that a training took; none where they are not known.
    pub(super) fn seconds(&self, entry: Entry, training: usize) -> Option<f64> {
        let folder = self.folder(entry, training);
        if entry == Entry::Inpainting {
            return inpainting::seconds(&folder.join("model"));
        }
        let text = std::fs::read_to_string(folder.join("times.csv")).ok()?;
        Some(crate::model::total_seconds(&text))
    }

    fn say(&self, line: String) {
        self.common.say(line);
    }
}

/// The crops that are mapped: those of the test split, in the order of the table, thinned as the embeddings are.
pub(super) fn mapped_rows(crops: &dyn CropSource, limit: usize) -> Result<Vec<usize>, Failure> {
    let test = crate::evaluation::rows_of_split(crops.table(), "test")?;
    Ok(evenly(test.len(), limit)
        .into_iter()
        .map(|at| test[at])
        .collect())
}

fn kept(failure: Failure, out: &Path) -> Failure {
    match failure {
        Failure::Interrupted(text) => Failure::Interrupted(format!(
            "{text}; finished parts are kept in {}, go on with --resume",
            out.display()
        )),
        other => other,
    }
}
