//! `align`: comparable maps of several related arrays.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, Failure, HasCommon};
use cytoself_examples::output::Output;
use cytoself_examples::progress::Progress;
use cytoself_io::npy;
use cytoself_umap::{
    AlignedParams, Metric, ParamGuard, PointSource, Relation, UmapError, UmapParams,
};
use ndarray::{Array2, Ix2};

/// Maps several related arrays with AlignedUMAP, so that the same row lies at about the same place in each map
#[derive(Parser)]
#[command(
    name = "align",
    after_help = "Example:\n  align --input full.npy no_nucleus.npy --relations identity --output aligned"
)]
struct Arguments {
    /// Arrays f32 [n, d], in order
    #[arg(long, value_name = "X.npy", num_args = 1.., required = true)]
    input: Vec<PathBuf>,
    /// identity (row i is row i everywhere), or a CSV with the header slice,before,after: row `before` of array `slice`
    /// (from 0) is row `after` of the next
    #[arg(long, value_name = "R", default_value = "identity")]
    relations: String,
    /// Folder for one map per input, under the input's name
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Size of the neighbourhood, the point itself counted
    #[arg(long, value_name = "K", default_value_t = 15)]
    n_neighbors: usize,
    /// Distance up to which points of a map count as equal
    #[arg(long, value_name = "D", default_value_t = 0.1)]
    min_dist: f64,
    /// Scale of the maps
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    spread: f64,
    /// euclidean, cosine, correlation or manhattan
    #[arg(long, value_name = "M", default_value = "euclidean")]
    metric: Metric,
    /// Passes over the graphs [default: 200]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Dimensions of the maps
    #[arg(long, value_name = "N", default_value_t = 2)]
    components: usize,
    /// Strength of the pull between maps
    #[arg(long, value_name = "L", default_value_t = 0.01)]
    regularisation: f64,
    /// How many maps before and after pull
    #[arg(long, value_name = "W", default_value_t = 3)]
    window: usize,
    /// Look only at the relations that umap-learn looks at
    #[arg(long)]
    compat: bool,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(run)
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let slices = UmapParams::default()
        .n_neighbors(arguments.n_neighbors)
        .spread(arguments.spread)
        .min_dist(arguments.min_dist)
        .metric(arguments.metric)
        .epochs(arguments.epochs)
        .n_components(arguments.components)
        .seed(arguments.common.seed);
    let params = AlignedParams::default()
        .slices(slices)
        .regularisation(arguments.regularisation)
        .window(arguments.window)
        .compat(arguments.compat)
        .check()?;
    let names = names(&arguments.input)?;
    let output = Output::folder(&arguments.output, arguments.common.overwrite)?;
    let arrays = arguments
        .input
        .iter()
        .map(|p| read(p))
        .collect::<Result<Vec<_>, _>>()?;
    let relations = relations(&arguments.relations, &arrays)?;
    let sources = arrays
        .iter()
        .zip(&arguments.input)
        .map(|(a, path)| {
            PointSource::dense(a.view()).map_err(|e| Failure::from(e).context(path.display()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let progress = Progress::new("aligning", 1000, arguments.common.quiet);
    let models = params.fit(&sources, &relations, &mut |done, _| progress.update(done));
    drop(progress);
    let models = models.map_err(|e| match &e {
        UmapError::Relation { .. } => Failure::from(e).context(&arguments.relations),
        _ => Failure::from(e),
    })?;
    arguments.common.say(format!(
        "{} arrays, seed {}",
        arrays.len(),
        arguments.common.seed
    ));
    for (model, name) in models.iter().zip(names) {
        arguments.common.say(format!("{name}: {}", model.report()));
        npy::write(&output.path().join(name), &model.embedding())?;
    }
    output.commit()
}

fn read(path: &Path) -> Result<Array2<f32>, Failure> {
    let array = npy::read_f32(path)?;
    let shape = array.shape().to_vec();
    array.into_dimensionality::<Ix2>().map_err(|_| {
        Failure::input(format!(
            "{}: expected an array [n, d], found shape {shape:?}",
            path.display()
        ))
    })
}

/// File names of the maps: those of the inputs, which have to differ.
fn names(inputs: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = Vec::new();
    for path in inputs {
        let name = path
            .file_stem()
            .map_or(String::new(), |s| s.to_string_lossy().into_owned())
            + ".npy";
        if names.contains(&name) {
            return Err(Failure::input(format!(
                "{}: an earlier input has the name {name} too; rename one",
                path.display()
            )));
        }
        names.push(name);
    }
    Ok(names)
}

fn relations(text: &str, arrays: &[Array2<f32>]) -> Result<Vec<Relation>, Failure> {
    let steps = arrays.len().saturating_sub(1);
    if text == "identity" {
        let length = |s: usize| arrays[s].nrows().min(arrays[s + 1].nrows());
        return Ok((0..steps).map(|s| Relation::identity(length(s))).collect());
    }
    let mut pairs: Vec<Vec<(u32, u32)>> = vec![Vec::new(); steps];
    let mut reader =
        csv::Reader::from_path(text).map_err(|e| Failure::input(format!("{text}: {e}")))?;
    for (line, record) in reader.deserialize::<(usize, u32, u32)>().enumerate() {
        let (slice, before, after) = record.map_err(|e| {
            Failure::input(format!(
                "{text}: {e}; expected the columns slice,before,after with whole numbers"
            ))
        })?;
        let slot = pairs.get_mut(slice).ok_or_else(|| {
            Failure::input(format!(
                "{text}, line {}: slice {slice}, and the last with a next one is {}",
                line + 2,
                steps.saturating_sub(1)
            ))
        })?;
        slot.push((before, after));
    }
    Ok(pairs.into_iter().map(Relation::new).collect())
}
