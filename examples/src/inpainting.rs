//! The baseline of the paper's comparison: training and features, as `inpaint` and `ablate` run them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use cytoself_io::{
    CropSource, EmbeddingLayout, EmbeddingPart, EmbeddingStoreWriter, Split, open_crops,
};
use cytoself_model::{
    FEATURES, InpaintingConfig, InpaintingEmbedder, InpaintingFolder, InpaintingObserver,
    InpaintingRow, InpaintingTrainer, TrainingData,
};

use crate::cli::{Common, Failure};
use crate::model::train::Normalize;
use crate::output::Output;
use crate::progress::Progress;
use crate::selection::Selection;

/// Crops that are embedded at once.
const BATCH: usize = 32;

/// What to train on what.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Crops: a crop store, or a folder of cytoself's .npy files
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder to write: the model, and embeddings.zarr with the features
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Share of the published channels that every layer has
    #[arg(long, value_name = "W", default_value_t = 1.0)]
    pub width: f64,
    /// Channels that are given of both cells, comma-separated
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "nuc"
    )]
    pub markers: Vec<String>,
    /// Epochs at most
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub epochs: usize,
    /// End with the first batch after this many seconds of work
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Crops in a batch
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub batch_size: usize,
    /// Learning rate of Adam
    #[arg(long, value_name = "L", default_value_t = 1e-4)]
    pub learning_rate: f64,
    /// Normalise the crops on reading
    #[arg(long, value_enum, value_name = "N")]
    pub normalize: Option<Normalize>,
    /// Embed crops of this split: train, val, test or all
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    pub split: String,
    /// Go on with the training in --out
    #[arg(long)]
    pub resume: bool,
}

/// Trains the baseline and embeds with it.
///
/// # Errors
/// - bad arguments or data; the output exists and may not be replaced;
/// - the user interrupts: the training goes on with `--resume`.
pub fn run(arguments: &Arguments, common: &Common) -> Result<(), Failure> {
    let source = open_crops(&arguments.data)?;
    let crops = Selection::split(source.as_ref(), None, common.seed)?;
    let config = InpaintingConfig {
        markers: arguments.markers.clone(),
        input: crops.crop_shape(),
        normalization: arguments.normalize.map(Into::into).unwrap_or_default(),
        width: arguments.width,
        seed: common.seed,
        epochs: arguments.epochs,
        seconds: arguments.seconds,
        batch: arguments.batch_size,
        learning_rate: arguments.learning_rate,
        ..InpaintingConfig::default()
    };
    let resumed = arguments.resume && arguments.out.is_dir();
    train(&crops, config, &arguments.out, resumed, common)?;
    let embeddings = arguments.out.join("embeddings.zarr");
    let again = Common {
        overwrite: resumed,
        ..common.clone()
    };
    embed(
        &crops,
        &arguments.out,
        &embeddings,
        &arguments.split,
        &again,
    )?;
    common.say(format!(
        "seed {} -> {}",
        common.seed,
        arguments.out.display()
    ));
    Ok(())
}

/// Trains in the folder `out`, or goes on with the training in it.
///
/// # Errors
/// - as [`run`].
pub fn train(
    crops: &Selection<'_>,
    config: InpaintingConfig,
    out: &Path,
    resumed: bool,
    common: &Common,
) -> Result<(), Failure> {
    let splits: Vec<Option<Split>> = cytoself_io::split_column(crops.table())?
        .unwrap_or_default()
        .into_iter()
        .map(Some)
        .collect();
    let data = TrainingData::new(crops, &config.channels(), &splits, None)?
        .normalized(config.normalization);
    let epochs = config.epochs;
    if !resumed {
        let output = Output::folder(out, common.overwrite)?;
        InpaintingTrainer::start(output.path(), config, &data)?;
        output.commit()?;
    }
    let mut trainer = InpaintingTrainer::resume(out, &data, Some(epochs))?;
    let mut reporter = Reporter {
        common,
        epochs,
        progress: None,
    };
    let outcome = trainer.run(&mut reporter)?;
    common.say(format!(
        "{} steps in {:.0} s",
        outcome.steps, outcome.seconds
    ));
    Ok(())
}

/// Writes the features of the crops of a split into an embedding store.
///
/// # Errors
/// - the folder holds no baseline, or it does not fit the crops;
/// - the user interrupts: nothing is kept.
pub fn embed(
    crops: &Selection<'_>,
    model: &Path,
    out: &Path,
    split: &str,
    common: &Common,
) -> Result<(), Failure> {
    let embedder = InpaintingEmbedder::open(model)?;
    let rows = crate::evaluation::rows_of_split(crops.table(), split)?;
    let layout = FEATURES.iter().zip(embedder.widths()).fold(
        EmbeddingLayout::new()
            .made("model", model.display())
            .made("inpainting_width", embedder.model().config().width),
        |layout, (name, width)| layout.dense(name, width),
    );
    Output::remove_stale(out)?;
    let output = Output::folder(out, common.overwrite)?;
    let mut writer = EmbeddingStoreWriter::create(output.path(), &layout)?;
    let progress = Progress::new("crops", rows.len() as u64, common.quiet);
    embedder.run(
        crops,
        &rows,
        BATCH,
        &mut |done, _| progress.update(done),
        &mut |places, arrays| {
            let table = crops.table().select(&rows[places])?;
            let parts: Vec<(&str, EmbeddingPart<'_>)> = FEATURES
                .into_iter()
                .zip(&arrays)
                .map(|(name, array)| (name, EmbeddingPart::F32(array.view())))
                .collect();
            Ok(writer.append(&table, &parts)?)
        },
    )?;
    drop(progress);
    writer.finish()?;
    output.commit()
}

/// Seconds that the training in a folder took; none where there is no training.
#[must_use]
pub fn seconds(model: &Path) -> Option<f64> {
    let (history, _) = InpaintingFolder::open(model).ok()?.history().ok()?;
    history.last().map(|row| row.seconds)
}

struct Reporter<'a> {
    common: &'a Common,
    epochs: usize,
    progress: Option<Progress>,
}

impl InpaintingObserver for Reporter<'_> {
    fn batch(&mut self, batch: u64, batches: u64) -> ControlFlow<()> {
        let quiet = self.common.quiet;
        self.progress
            .get_or_insert_with(|| Progress::new("pairs", batches, quiet))
            .update(batch)
    }

    fn epoch(&mut self, row: &InpaintingRow) {
        self.progress = None;
        self.common.say(format!(
            "epoch {}/{}: {} batches, train/val squared error {:.5}/{:.5}, {:.1} s",
            row.epoch, self.epochs, row.batches, row.training, row.validation, row.seconds
        ));
    }
}
