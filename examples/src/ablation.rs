//! The ablation: every variant of the network trained, mapped and scored several times, as `ablate` does it.

mod aligned;
mod bench;
mod entry;
mod judge;
mod record;
mod table;

use std::path::PathBuf;

use cytoself_io::open_crops;
use cytoself_model::Config;

use crate::cli::{Common, Failure};
use crate::model::train;
use crate::plot;
use crate::selection::Selection;

use bench::Bench;
pub use entry::{Entry, Line};
use judge::Judge;
pub use table::{Cell, Table};

/// What to take away, and how often to train and map what is left.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Crops: a crop store, or a folder of cytoself's .npy files
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder for the trainings, the maps and the table
    #[arg(long, value_name = "DIR", default_value = "out/ablation")]
    pub out: PathBuf,
    /// Variants, comma-separated: full, no_nucleus, nucleus_image, no_split, no_identification, no_decoder, no_quantization, and
    /// inpainting, the baseline of Lu et al.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = Entry::ALL)]
    pub variants: Vec<Entry>,
    /// Trainings of each variant, each with its own seed
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub trainings: usize,
    /// Maps of each training, each with its own seed
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub umaps: usize,
    /// Network and training of the full model: paper, small, torch-readme, ...
    #[arg(long, value_name = "P", default_value = "small")]
    pub preset: String,
    /// Configuration file of the full model instead of a preset
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub config: Option<PathBuf>,
    /// Epochs of each training at most [default: the configuration's]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Crops in a batch [default: the configuration's]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Use at most this many crops, spread evenly over the table [default: all]
    #[arg(long, value_name = "N")]
    pub crops: Option<usize>,
    /// Map at most this many test crops, spread evenly
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub limit: usize,
    /// Organelles: a CSV of two columns, protein and group
    #[arg(long, value_name = "CSV", conflicts_with = "column")]
    pub groups: Option<PathBuf>,
    /// Organelles: a column of the crop table; values with `;` name several classes and count as none
    #[arg(long, value_name = "COLUMN", default_value = "localization")]
    pub column: String,
    /// Complexes: a CSV of two columns, protein and group; adds the second score and Fig. 6
    #[arg(long, value_name = "CSV")]
    pub complexes: Option<PathBuf>,
    /// Share of the published channels that the baseline's layers have
    #[arg(long, value_name = "W", default_value_t = 0.25)]
    pub inpainting_width: f64,
    /// Go on with the ablation in --out: finished parts are kept, an unfinished training goes on
    #[arg(long)]
    pub resume: bool,
}

impl Arguments {
    /// The configuration of the full model, before the flags for epochs and batches.
    fn full_config(&self) -> Result<Config, Failure> {
        match &self.config {
            Some(path) => train::read_config(path),
            None => Ok(Config::preset(&self.preset)?),
        }
    }
}

/// Trains, maps and scores what is missing, and writes the table and the figures.
///
/// # Errors
/// - bad arguments or data; the output exists and may not be replaced;
/// - the folder was made with other settings;
/// - the user interrupts: finished parts are kept.
pub fn run(arguments: &Arguments, common: &Common) -> Result<Table, Failure> {
    let entries = entry::ordered(&arguments.variants);
    for (flag, number) in [
        ("--trainings", arguments.trainings),
        ("--umaps", arguments.umaps),
    ] {
        if !(1..1000).contains(&number) {
            return Err(Failure::input(format!(
                "{flag} {number}: expected 1 to 999"
            )));
        }
    }
    if entries.contains(&Entry::Inpainting) && !entries.contains(&Entry::FULL) {
        return Err(Failure::input(
            "--variants: inpainting is trained for as long as the full model; name full too",
        ));
    }
    let source = open_crops(&arguments.data)?;
    let crops = Selection::split(source.as_ref(), arguments.crops, common.seed)?;
    let judge = Judge::new(arguments, &crops)?;
    record::begin(arguments, common)?;
    let bench = Bench::new(arguments, common, &crops);
    for training in 1..=arguments.trainings {
        for &entry in &entries {
            bench.prepare(entry, training)?;
        }
    }
    let table = judge.table(&bench, &entries, common.seed)?;
    table.write(&arguments.out)?;
    draw(&table, arguments)?;
    aligned::draw(&bench, &judge, &entries)?;
    Ok(table)
}

/// Fig. 6: both scores of every model against each other.
fn draw(table: &Table, arguments: &Arguments) -> Result<(), Failure> {
    let points = table.measured("clustering_robust");
    if points.is_empty() {
        return Ok(());
    }
    let axes = [
        "clustering score, organelles",
        "clustering score, complexes",
    ];
    let figure = plot::Regression::new(&points, axes, "mean and s.e.m. of every model");
    for name in ["figure6.png", "figure6.svg"] {
        plot::save(&figure, &arguments.out.join(name))?;
    }
    Ok(())
}
