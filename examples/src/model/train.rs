//! The training stage.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use cytoself_io::{CropSource, CropTable, Split, open_crops};
use cytoself_model::{
    Collectives, Config, Ending, InputNormalization, ModelError, ModelFolder, Placement, Trainer,
    TrainingData, TrainingOutcome, Variant, Work, agree, check_alike,
};

use super::device::DeviceArgs;
use super::memory::{self, Budget};
use super::report::{Reporter, draw_curves, value};
use super::{held_out, ranks, resume, split};
use crate::cli::{Common, Failure};
use crate::output::Output;

/// What to train on what.
#[derive(Debug, Clone, Args)]
pub struct TrainArgs {
    /// Crops: a crop store, or a folder of cytoself's .npy files
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Model folder to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Network and training: paper, small, torch-readme, torch-split9, torch-tfdec or torch-micro [default: paper]
    #[arg(long, value_name = "P")]
    pub preset: Option<String>,
    /// Configuration file; settings it leaves out come from the preset it names
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub config: Option<PathBuf>,
    /// Epochs at most [default: the configuration's]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Crops in a batch, of all processes together [default: the configuration's]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Memory that weights, optimizer, maps and crops may take, e.g. 2G or 800M: a batch that would need more is cut into
    /// smaller ones whose gradients are averaged. What the allocator keeps and mapped files (about 150M) come on top
    /// [default: no bound]
    #[arg(long, value_name = "SIZE", value_parser = memory::parse)]
    pub max_memory: Option<u64>,
    /// Where to compute
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Train on all processes that mpirun or srun started, which cut every batch among themselves (needs a build with the feature mpi)
    #[arg(long)]
    pub mpi: bool,
    /// Share the statistics of batch normalisation among processes, so that they train as one would [default: the configuration's]
    #[arg(long)]
    pub sync_batch_norm: bool,
    /// Sum the gradients over processes after the backward pass and not beside it (the sums are the same)
    #[arg(long)]
    pub no_overlap: bool,
    /// Sum the gradients of GPUs through the processor and not from GPU to GPU (for which a build needs the feature nccl)
    #[arg(long)]
    pub no_nccl: bool,
    /// Folder for TensorBoard's event files
    #[arg(long, value_name = "DIR")]
    pub tensorboard: Option<PathBuf>,
    /// Go on with the training in --out, with the settings it was begun with; only --epochs may differ
    #[arg(long)]
    pub resume: bool,
    /// Channels of the crops, comma-separated [default: the configuration's]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub channels: Vec<String>,
    /// Normalise the crops on reading, for crops of raw intensities: none (as stored), crop (each image channel to 0..1
    /// by its own range) or maximum (divided by its own maximum) [default: the configuration's]
    #[arg(long, value_enum, value_name = "N")]
    pub normalize: Option<Normalize>,
    /// Which fields to train on: a CSV with the columns fov and split (train, val, test) [default: 8:1:1 by field]
    #[arg(long, value_name = "FILE")]
    pub split: Option<PathBuf>,
    /// Codes that follow the vectors that chose them as moving averages, which keep this share of themselves at each step
    /// (0.99 is usual), instead of training by gradient (0) [default: the configuration's]
    #[arg(long, value_name = "D")]
    pub ema_decay: Option<f64>,
    /// Without the identification task (ablation)
    #[arg(long)]
    pub no_identification: bool,
    /// Without decoders (ablation)
    #[arg(long)]
    pub no_decoder: bool,
    /// Without quantisation (ablation)
    #[arg(long)]
    pub no_quantization: bool,
    /// Without splitting the global quantiser's channels (ablation)
    #[arg(long)]
    pub no_split: bool,
    /// Variant of the ablation: full, no_nucleus, nucleus_image, no_split, no_identification, no_decoder or no_quantization
    #[arg(long, value_name = "V", conflicts_with = "channels")]
    pub variant: Option<Variant>,
    /// Proteins to leave out of the training altogether, comma-separated
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub hold_out: Vec<String>,
    /// File to which the seconds of every epoch are written
    #[arg(skip)]
    pub times: Option<PathBuf>,
}

impl TrainArgs {
    /// Training on `data` into `out`, everything else as without flags.
    #[must_use]
    pub fn new(data: PathBuf, out: PathBuf) -> Self {
        Self {
            data,
            out,
            preset: None,
            config: None,
            epochs: None,
            batch_size: None,
            max_memory: None,
            device: DeviceArgs::default(),
            mpi: false,
            sync_batch_norm: false,
            no_overlap: false,
            no_nccl: false,
            tensorboard: None,
            resume: false,
            channels: Vec::new(),
            normalize: None,
            split: None,
            ema_decay: None,
            no_identification: false,
            no_decoder: false,
            no_quantization: false,
            no_split: false,
            variant: None,
            hold_out: Vec::new(),
            times: None,
        }
    }
}

/// What is done to crops on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Normalize {
    /// As stored.
    None,
    /// By each crop's own range.
    Crop,
    /// By each crop's own maximum.
    Maximum,
}

impl From<Normalize> for InputNormalization {
    fn from(choice: Normalize) -> Self {
        match choice {
            Normalize::None => Self::None,
            Normalize::Crop => Self::Crop,
            Normalize::Maximum => Self::Maximum,
        }
    }
}

/// Trains, or goes on with a training, and says how it went.
///
/// # Errors
/// - bad arguments or data;
/// - the user interrupted: the last checkpoint is kept.
pub fn train(args: &TrainArgs, common: &Common) -> Result<TrainingOutcome, Failure> {
    let team = ranks::join(args.mpi)?;
    let found = agree(team.as_ref(), open_crops(&args.data).map_err(Failure::from));
    let result = found.and_then(|source| train_with(source.as_ref(), args, common, &team));
    ranks::end(result, team.as_ref())
}

/// As [`train`], on crops that are open already.
///
/// # Errors
/// As [`train`].
pub fn train_on(
    source: &dyn CropSource,
    args: &TrainArgs,
    common: &Common,
) -> Result<TrainingOutcome, Failure> {
    let team = ranks::join(args.mpi)?;
    let result = train_with(source, args, common, &team);
    ranks::end(result, team.as_ref())
}

/// Settings and crops of a training, and what is to be written beside them.
struct Prepared<'a> {
    config: Config,
    data: TrainingData<'a>,
    splits: Vec<Split>,
    /// How the splits came about.
    how: String,
    held_out: Vec<String>,
}

fn train_with(
    source: &dyn CropSource,
    args: &TrainArgs,
    common: &Common,
    team: &Arc<dyn Collectives>,
) -> Result<TrainingOutcome, Failure> {
    let (all, first) = (team.as_ref(), team.rank() == 0);
    let common = &ranks::flags(common, all);
    let placement = agree(all, ranks::device(&args.device, all).open())?;
    let placement = Placement::on(placement)
        .with_team(Arc::clone(team))
        .with_overlap(!args.no_overlap)
        .with_nccl(!args.no_nccl)
        .with_cuda_graph(args.device.cuda_graph);
    let budget = Budget::new(args.max_memory, team.size());
    // Rank 0 makes the folder: whether it was there is for it to say.
    let started = args.resume && args.out.join("state.json").is_file();
    let started = all.broadcast(vec![u8::from(started)])? == [1];
    let Prepared {
        config,
        data,
        splits,
        how,
        held_out,
    } = agree(all, prepare(source, args, common, started))?;
    check_alike(all, &config, &data)?;
    let trained = config.model.clone();
    if !started {
        let made = if first {
            let parts = (splits.as_slice(), held_out.as_slice());
            start(args, config, &data, parts, source.table(), &budget, common)
        } else {
            Ok(())
        };
        agree(all, made)?;
    }
    let counts = Split::ALL
        .map(|s| format!("{} {s}", data.rows(s).len()))
        .join(", ");
    common.say(format!(
        "{} proteins, crops: {counts} ({how})",
        data.proteins().len()
    ));
    if !held_out.is_empty() {
        common.say(format!("held out: {}", held_out.join(", ")));
    }
    let work = Work::of(&trained)?;
    common.say(format!(
        "network: {} parameters, {:.3} GMAC per crop forward",
        work.parameters(),
        work.macs() as f64 / 1e9
    ));
    let mut trainer = Trainer::resume_at(&args.out, &data, args.epochs, &placement)?;
    if trainer.state().step > 0 {
        let state = trainer.state();
        common.say(format!(
            "going on after epoch {}, batch {}",
            state.epoch, state.batch
        ));
    }
    let estimate = agree(all, budget.estimate(&trainer, common))?;
    let settings = &trainer.config().training;
    if team.size() > 1 {
        let statistics = match settings.sync_batch_norm {
            true => "shared",
            false => "each its own",
        };
        let gradients = match placement.sums_between_gpus() {
            true => ", gradients from GPU to GPU",
            false => "",
        };
        common.say(format!(
            "{} ranks, batches of {} cut among them, batch statistics: {statistics}{gradients}",
            team.size(),
            settings.batch
        ));
    }
    let mut reporter = Reporter::new(common, settings.epochs);
    if let Some(folder) = args.tensorboard.as_ref().filter(|_| first) {
        reporter = reporter.events(folder)?;
    }
    if let Some(path) = args.times.as_ref().filter(|_| first) {
        reporter = reporter.times(path);
    }
    let outcome = trainer.run(&mut reporter)?;
    if first {
        draw_curves(&trainer.state().history.rows, &args.out.join("history.png"))?;
    }
    say_outcome(&outcome, common);
    memory::say_peak(estimate, common);
    common.say(format!("wrote {}", args.out.display()));
    Ok(outcome)
}

/// What the flags, or the folder of a training that was `started`, say about settings and crops.
fn prepare<'a>(
    source: &'a dyn CropSource,
    args: &TrainArgs,
    common: &Common,
    started: bool,
) -> Result<Prepared<'a>, Failure> {
    let folder = match started {
        true => Some(ModelFolder::open(&args.out)?),
        false => None,
    };
    let mut config = match &folder {
        Some(folder) => {
            let config = folder.config()?;
            resume::check_settings(args, &config, source, common)?;
            config
        }
        None => {
            let config = resolve(args, source, common)?;
            common.say(format!("seed {}", config.training.seed));
            config
        }
    };
    config.training.epochs = args.epochs.unwrap_or(config.training.epochs);
    let file = match &folder {
        Some(_) => Some(args.out.join(split::SPLIT_FILE)).filter(|p| p.is_file()),
        None => args.split.clone(),
    };
    let (splits, how) = split::choose(source.table(), file.as_deref(), common)?;
    let proteins = folder.as_ref().map(ModelFolder::proteins).transpose()?;
    let held_out = match &folder {
        Some(_) => {
            let kept = held_out::read(&args.out)?;
            resume::check_crops(args, source, &splits, &kept, common)?;
            kept
        }
        None => held_out::check(&args.hold_out, source.table())?,
    };
    let wanted = held_out::without(&splits, source.table(), &held_out);
    let data = TrainingData::new(source, &config.model.channels, &wanted, proteins)?
        .normalized(config.model.normalization);
    config.model.classes = data.proteins().len();
    Ok(Prepared {
        config,
        data,
        splits,
        how,
        held_out,
    })
}

/// Makes the model folder with its first checkpoint, complete or not at all.
fn start(
    args: &TrainArgs,
    mut config: Config,
    data: &TrainingData,
    (splits, held_out): (&[Split], &[String]),
    table: &CropTable,
    budget: &Budget,
    common: &Common,
) -> Result<(), Failure> {
    budget.fit(&mut config, common)?;
    // A folder without a state is what a kill during the very first moments leaves.
    let output = Output::folder(
        &args.out,
        common.overwrite || (args.resume && !args.out.join("state.json").exists()),
    )?;
    Trainer::start(output.path(), config, data)?;
    split::write(output.path(), table, splits)?;
    held_out::write(output.path(), held_out)?;
    output.commit()
}

/// The configuration that the arguments describe, for the crops' size and channels.
pub(super) fn resolve(
    args: &TrainArgs,
    source: &dyn CropSource,
    common: &Common,
) -> Result<Config, Failure> {
    let config = match &args.config {
        Some(path) => read_config(path)?,
        None => Config::preset(args.preset.as_deref().unwrap_or("paper"))?,
    };
    change(args, config, source, common)
}

/// `config` with what single flags change.
pub(super) fn change(
    args: &TrainArgs,
    mut config: Config,
    source: &dyn CropSource,
    common: &Common,
) -> Result<Config, Failure> {
    if !args.channels.is_empty() {
        config.model.channels.clone_from(&args.channels);
    }
    if let Some(variant) = args.variant {
        config = variant.of(config);
    }
    if let Some(choice) = args.normalize {
        config.model.normalization = choice.into();
    }
    if config.model.input != source.crop_shape() {
        config.model = config.model.with_input(source.crop_shape());
    }
    // The flag has a default: a configuration file that names another seed keeps it.
    if args.config.is_none() || common.seed != Common::SEED {
        config.training.seed = common.seed;
    }
    config.training.epochs = args.epochs.unwrap_or(config.training.epochs);
    config.training.batch = args.batch_size.unwrap_or(config.training.batch);
    config.training.sync_batch_norm |= args.sync_batch_norm;
    if let Some(decay) = args.ema_decay {
        for level in &mut config.model.levels {
            level.quantizer.ema_decay = decay;
        }
    }
    for (asked, change) in [
        (
            args.no_identification,
            Config::without_identification as fn(Config) -> Config,
        ),
        (args.no_decoder, Config::without_decoders),
        (args.no_quantization, Config::without_quantization),
        (args.no_split, Config::without_split),
    ] {
        if asked {
            config = change(config);
        }
    }
    config.check()?;
    Ok(config)
}

pub(crate) fn read_config(path: &Path) -> Result<Config, Failure> {
    let text = fs::read_to_string(path).map_err(|e| Failure::from(e).context(path.display()))?;
    Config::from_toml(&text).map_err(|e: ModelError| Failure::from(e).context(path.display()))
}

fn say_outcome(outcome: &TrainingOutcome, common: &Common) {
    let why = match outcome.ending {
        Ending::EarlyStop => "no progress any more",
        _ => "all epochs done",
    };
    common.say(format!(
        "{why} after epoch {}; best epoch {} (val loss {:.4})",
        outcome.epochs, outcome.best_epoch, outcome.best_loss
    ));
    if let Some(test) = &outcome.test {
        common.say(format!(
            "test crops with the best weights: loss {:.4}, accuracy of the heads {:.3} and {:.3}",
            test.loss(),
            value(test, "fc1_accuracy"),
            value(test, "fc2_accuracy"),
        ));
    }
}
