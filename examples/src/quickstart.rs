//! Every stage in a row on simulated fields: what `quickstart` does.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use crate::atlas::{AtlasParams, write_atlas};
use crate::cli::{Common, Failure};
use crate::model::device::DeviceArgs;
use crate::model::embed::{EmbedArgs, embed};
use crate::model::train::{TrainArgs, train};
use crate::output::Output;
use crate::progress::Progress;
use crate::simulate::{Simulation, SimulationParams, quickstart_params, write_dataset};
use crate::{evaluation, preprocess, spectra};

/// Crops that one simulated field of the default size gives, about.
const CROPS_PER_FIELD: usize = 26;

/// Shares of a protein's fields for training, validation and test: two of eight test it, so that a test crop has neighbours
/// from another field of its protein.
const SPLIT: [f64; 3] = [0.625, 0.125, 0.25];

/// Fewer fields than this leave a protein without two fields for the test.
const FIELDS_AT_LEAST: usize = 4;

/// What to run, and where to put it.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Folder to write
    #[arg(long, value_name = "DIR", default_value = "out/quickstart")]
    pub out: PathBuf,
    /// Crops to simulate, about [default: 6300]
    #[arg(long, value_name = "N")]
    pub crops: Option<usize>,
    /// Epochs of training
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub epochs: usize,
    /// Train without the identification task, to see what it is worth
    #[arg(long)]
    pub no_identification: bool,
    /// Keep the stages that an interrupted run has finished
    #[arg(long)]
    pub resume: bool,
}

/// The folders that the stages write.
const STAGES: [&str; 7] = [
    "fields",
    "crops.zarr",
    "model",
    "embeddings.zarr",
    "atlas",
    "spectrum",
    "evaluation",
];

/// Runs every stage that is not there yet and says where to look.
///
/// # Errors
/// - the output folder holds an earlier run, and neither `--overwrite` nor `--resume` was given;
/// - a stage fails, or the user interrupts; finished stages are kept.
pub fn run(options: &Options, common: &Common) -> Result<(), Failure> {
    let begin = Instant::now();
    prepare(options, common)?;
    let stages = Stages {
        options,
        common: Common {
            overwrite: false,
            ..common.clone()
        },
    };
    stages.stage("fields", |out| stages.simulate(out))?;
    stages.stage("crops.zarr", |out| stages.preprocess(out))?;
    stages.train()?;
    stages.stage("embeddings.zarr", |out| stages.embed(out))?;
    stages.stage("atlas", |out| stages.atlas(out))?;
    stages.stage("spectrum", |out| stages.spectrum(out))?;
    stages.stage("evaluation", |out| stages.evaluate(out))?;
    common.say(format!(
        "everything took {:.0} s",
        begin.elapsed().as_secs_f64()
    ));
    println!(
        "open {} in a browser",
        options.out.join("atlas").join("atlas.html").display()
    );
    Ok(())
}

/// Makes room for the run: an earlier one is refused, kept or removed, as the flags say.
fn prepare(options: &Options, common: &Common) -> Result<(), Failure> {
    let out = &options.out;
    let earlier: Vec<PathBuf> = STAGES
        .iter()
        .map(|name| out.join(name))
        .filter(|path| path.exists())
        .collect();
    if let Some(path) = earlier.first() {
        if !common.overwrite && !options.resume {
            return Err(Failure::input(format!(
                "{}: exists already; choose another --out, or give --resume to go on with it, or --overwrite to replace it",
                path.display()
            )));
        }
        if common.overwrite {
            for path in earlier {
                fs::remove_dir_all(&path).map_err(|e| Failure::from(e).context(path.display()))?;
            }
        }
    }
    fs::create_dir_all(out).map_err(|e| Failure::from(e).context(out.display()))
}

struct Stages<'a> {
    options: &'a Options,
    common: Common,
}

impl Stages<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.options.out.join(name)
    }

    /// Runs one stage unless its output is there, and says how long it took.
    fn stage(
        &self,
        name: &str,
        body: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let out = self.path(name);
        if out.exists() {
            self.common.say(format!("{}: kept", out.display()));
            return Ok(());
        }
        let begin = Instant::now();
        body(&out).map_err(|e| e.context(name))?;
        self.common.say(format!(
            "{}: {:.1} s",
            out.display(),
            begin.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    fn simulate(&self, out: &Path) -> Result<(), Failure> {
        let simulation = Simulation::new(self.simulation())?;
        let output = Output::folder(out, false)?;
        let progress = Progress::new(
            "simulating fields",
            simulation.fields().len() as u64,
            self.common.quiet,
        );
        write_dataset(output.path(), &simulation, |done, _| progress.update(done))?;
        drop(progress);
        output.commit()
    }

    fn simulation(&self) -> SimulationParams {
        let params = SimulationParams {
            seed: self.common.seed,
            ..quickstart_params()
        };
        match self.options.crops {
            None => params,
            Some(crops) => {
                let per_protein = crops.div_ceil(params.proteins * CROPS_PER_FIELD);
                SimulationParams {
                    fields_per_protein: per_protein.max(FIELDS_AT_LEAST),
                    ..params
                }
            }
        }
    }

    fn preprocess(&self, out: &Path) -> Result<(), Failure> {
        let manifest = self.path("fields").join("manifest.csv");
        let options = preprocess::Options::new(manifest, out.to_path_buf(), self.common.clone());
        preprocess::run(&preprocess::Options {
            split: SPLIT.to_vec(),
            ..options
        })
    }

    /// Training keeps its own state, so that an unfinished one goes on.
    fn train(&self) -> Result<(), Failure> {
        let out = self.path("model");
        let begin = Instant::now();
        let arguments = TrainArgs {
            preset: Some("small".to_string()),
            epochs: Some(self.options.epochs),
            resume: self.options.resume,
            no_identification: self.options.no_identification,
            ..TrainArgs::new(self.path("crops.zarr"), out.clone())
        };
        train(&arguments, &self.common).map_err(|e| e.context("model"))?;
        self.common.say(format!(
            "{}: {:.1} s",
            out.display(),
            begin.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    fn embed(&self, out: &Path) -> Result<(), Failure> {
        let arguments = EmbedArgs {
            model: self.path("model"),
            data: self.path("crops.zarr"),
            out: out.to_path_buf(),
            outputs: ["vqind1", "vqind2", "vqindhist1"]
                .map(String::from)
                .to_vec(),
            split: None,
            shard: None,
            batch_size: 32,
            device: DeviceArgs::default(),
        };
        embed(&arguments, &self.common).map(|_| ())
    }

    fn atlas(&self, out: &Path) -> Result<(), Failure> {
        let params = AtlasParams {
            umap: cytoself_umap::UmapParams::default().seed(self.common.seed),
            color_by: Some("localization".to_string()),
            crops: Some(self.path("crops.zarr")),
            title: "Protein localisation atlas of simulated cells".to_string(),
            ..AtlasParams::default()
        };
        let output = Output::folder(out, false)?;
        let progress = Progress::new("mapping", 1000, self.common.quiet);
        let embeddings = self.path("embeddings.zarr");
        let summary = write_atlas(&embeddings, output.path(), &params, &mut |done, _| {
            progress.update(done)
        })?;
        drop(progress);
        output.commit()?;
        self.common
            .say(format!("{} points: {}", summary.points, summary.map));
        Ok(())
    }

    fn spectrum(&self, out: &Path) -> Result<(), Failure> {
        let arguments = spectra::Arguments {
            embeddings: self.path("embeddings.zarr"),
            out: out.to_path_buf(),
            clusters: 11,
            query: Vec::new(),
            level: 1,
            split: "test".to_string(),
            groups: None,
            column: "localization".to_string(),
            optimal: false,
            data: Some(self.path("crops.zarr")),
        };
        spectra::run(&arguments, &self.common).map(|_| ())
    }

    fn evaluate(&self, out: &Path) -> Result<(), Failure> {
        let arguments = evaluation::Arguments {
            baselines: Some(self.path("crops.zarr")),
            maps: 3,
            ..evaluation::Arguments::new(self.path("embeddings.zarr"), out.to_path_buf())
        };
        let report = evaluation::run(&arguments, &self.common)?;
        if !self.common.quiet {
            print!("{}", report.to_table());
        }
        Ok(())
    }
}
