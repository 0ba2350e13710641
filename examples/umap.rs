//! `umap`: a map of the rows of an array, and new rows on an existing map.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use cytoself_examples::cli::{self, Common, Failure, HasCommon};
use cytoself_examples::output::Output;
use cytoself_examples::progress::Progress;
use cytoself_io::npy::{self, MappedArray};
use cytoself_umap::{
    Init, KnnMethod, Metric, ParamGuard, PointSource, Target, UmapModel, UmapParams,
};
use ndarray::{Array2, ArrayD, Ix2};

/// Maps the rows of an array to two dimensions with UMAP
#[derive(Parser)]
#[command(
    name = "umap",
    after_help = "Example:\n  umap --input vectors.npy --output map.npy --model map.umap\n  umap --transform new.npy --model map.umap --output placed.npy"
)]
struct Arguments {
    /// Rows to map: f32 [n, d], or code indices u16 [n, p] with --codebook
    #[arg(long, value_name = "X.npy", required_unless_present = "transform")]
    input: Option<PathBuf>,
    /// The map: f32 [n, components]
    #[arg(long, value_name = "Y.npy")]
    output: PathBuf,
    /// Codebook f32 [k, d] that the code indices point into
    #[arg(long, value_name = "C.npy")]
    codebook: Option<PathBuf>,
    /// Size of the neighbourhood, the point itself counted
    #[arg(long, value_name = "K", default_value_t = 15)]
    n_neighbors: usize,
    /// Distance up to which points of the map count as equal
    #[arg(long, value_name = "D", default_value_t = 0.1)]
    min_dist: f64,
    /// Scale of the map
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    spread: f64,
    /// euclidean, cosine, correlation or manhattan
    #[arg(long, value_name = "M", default_value = "euclidean")]
    metric: Metric,
    /// Passes over the graph [default: 500 up to 10,000 rows, else 200]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// spectral, random, or an array f32 [n, components] to start from
    #[arg(long, value_name = "I", default_value = "spectral")]
    init: String,
    /// Neighbour search
    #[arg(long, value_enum, default_value_t = Search::Auto)]
    knn: Search,
    /// Dimensions of the map
    #[arg(long, value_name = "N", default_value_t = 2)]
    components: usize,
    /// One class per line for a supervised map; an empty line is an unknown class
    #[arg(long, value_name = "L.txt")]
    target: Option<PathBuf>,
    /// 0 looks at the rows only, 1 at the classes only
    #[arg(long, value_name = "W", default_value_t = 0.5)]
    target_weight: f64,
    /// Model to write, or with --transform to read
    #[arg(long, value_name = "M.umap")]
    model: Option<PathBuf>,
    /// Folder for indices.npy (u32) and distances.npy (f32), [n, n_neighbors], each row's own point first
    #[arg(long, value_name = "DIR")]
    knn_output: Option<PathBuf>,
    /// New rows to place on the map of --model
    #[arg(long, value_name = "NEW.npy", requires = "model", conflicts_with_all = ["input", "knn_output", "target"])]
    transform: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Neighbour searches of the command line.
#[derive(Clone, Copy, ValueEnum)]
enum Search {
    /// Exact where that takes seconds, else descent
    Auto,
    /// All pairs
    Exact,
    /// Neighbours of neighbours, recall measured
    Descent,
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
    match &arguments.transform {
        Some(new) => place(&arguments, new),
        None => fit(&arguments),
    }
}

/// The rows of a file, as numbers or as codes with their codebook.
enum Rows {
    /// Numbers where they lie in the file.
    Mapped(MappedArray),
    Dense(Array2<f32>),
    Codes(Array2<u16>, Array2<f32>),
}

impl Rows {
    fn read(path: &Path, codebook: Option<Array2<f32>>) -> Result<Self, Failure> {
        if let Some(book) = codebook {
            return Ok(Self::Codes(matrix(path, npy::read_u16(path)?)?, book));
        }
        let mapped = MappedArray::open(path)?;
        if mapped.as_f32().is_some() {
            return Ok(Self::Mapped(mapped));
        }
        Ok(Self::Dense(matrix(path, npy::read_f32(path)?)?))
    }

    fn source(&self, path: &Path) -> Result<PointSource<'_>, Failure> {
        let source = match self {
            Self::Mapped(file) => {
                let rows = file
                    .as_f32()
                    .and_then(|rows| rows.into_dimensionality::<Ix2>().ok())
                    .ok_or_else(|| not_a_matrix(path, file.shape()))?;
                PointSource::dense(rows)
            }
            Self::Dense(rows) => PointSource::dense(rows.view()),
            Self::Codes(codes, book) => PointSource::codes(codes.view(), book.view()),
        };
        source.map_err(|e| Failure::from(e).context(path.display()))
    }
}

fn not_a_matrix(path: &Path, shape: &[usize]) -> Failure {
    let path = path.display();
    Failure::input(format!(
        "{path}: expected an array [n, d], found shape {shape:?}"
    ))
}

fn matrix<T>(path: &Path, array: ArrayD<T>) -> Result<Array2<T>, Failure> {
    let shape = array.shape().to_vec();
    array
        .into_dimensionality::<Ix2>()
        .map_err(|_| not_a_matrix(path, &shape))
}

/// The codebook, looked at on its own so that an error names its file.
fn book(arguments: &Arguments) -> Result<Option<Array2<f32>>, Failure> {
    let Some(path) = &arguments.codebook else {
        return Ok(None);
    };
    let book = matrix(path, npy::read_f32(path)?)?;
    PointSource::dense(book.view()).map_err(|e| Failure::from(e).context(path.display()))?;
    Ok(Some(book))
}

fn params(arguments: &Arguments) -> Result<UmapParams, Failure> {
    let init = match arguments.init.as_str() {
        "spectral" => Init::Spectral,
        "random" => Init::Random,
        file => Init::Given(start(file.as_ref())?),
    };
    let knn = match arguments.knn {
        Search::Auto => KnnMethod::Auto,
        Search::Exact => KnnMethod::Exact,
        Search::Descent => KnnMethod::Descent,
    };
    Ok(UmapParams::default()
        .n_neighbors(arguments.n_neighbors)
        .spread(arguments.spread)
        .min_dist(arguments.min_dist)
        .metric(arguments.metric)
        .epochs(arguments.epochs)
        .init(init)
        .knn(knn)
        .n_components(arguments.components)
        .target_weight(arguments.target_weight)
        .seed(arguments.common.seed))
}

fn start(path: &Path) -> Result<Array2<f32>, Failure> {
    let array = npy::read_f32(path).map_err(|e| {
        Failure::from(e).context("--init: expected spectral, random or an array of coordinates")
    })?;
    matrix(path, array)
}

fn fit(arguments: &Arguments) -> Result<(), Failure> {
    let Some(input) = &arguments.input else {
        return Err(Failure::input("--input: expected a file of rows"));
    };
    let checked = params(arguments)?.check()?;
    let output = Output::file(&arguments.output, arguments.common.overwrite)?;
    let model_output = file_output(arguments.model.as_deref(), arguments)?;
    let knn_output = arguments
        .knn_output
        .as_ref()
        .map(|d| Output::folder(d, arguments.common.overwrite))
        .transpose()?;
    let rows = Rows::read(input, book(arguments)?)?;
    let source = rows.source(input)?;
    let target = target(arguments)?;
    let progress = Progress::new("mapping", 1000, arguments.common.quiet);
    let mut update = |done, _| progress.update(done);
    let model = match target {
        Some(target) => checked.fit_supervised(&source, &target, &mut update),
        None => checked.fit(&source, &mut update),
    };
    drop(progress);
    let model = model?;
    arguments.common.say(format!(
        "{} rows, seed {}; {}",
        source.len(),
        arguments.common.seed,
        model.report()
    ));

    npy::write(output.path(), &model.embedding())?;
    if let Some(folder) = knn_output {
        npy::write(&folder.path().join("indices.npy"), &model.knn().indices())?;
        npy::write(
            &folder.path().join("distances.npy"),
            &model.knn().distances(),
        )?;
        folder.commit()?;
    }
    if let Some(file) = model_output {
        let mut writer = BufWriter::new(File::create(file.path())?);
        model.save(&mut writer, Some(&source))?;
        file.commit()?;
    }
    output.commit()
}

fn file_output(path: Option<&Path>, arguments: &Arguments) -> Result<Option<Output>, Failure> {
    path.map(|p| Output::file(p, arguments.common.overwrite))
        .transpose()
}

/// Classes by line, numbered in the order of their names.
fn target(arguments: &Arguments) -> Result<Option<Target>, Failure> {
    let Some(path) = &arguments.target else {
        return Ok(None);
    };
    let text =
        std::fs::read_to_string(path).map_err(|e| Failure::from(e).context(path.display()))?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut names: Vec<&str> = lines.iter().copied().filter(|l| !l.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    let class = |l: &&str| names.binary_search(l).ok().map(|c| c as u32);
    Ok(Some(Target::Classes(lines.iter().map(class).collect())))
}

fn place(arguments: &Arguments, new: &Path) -> Result<(), Failure> {
    let Some(path) = &arguments.model else {
        return Err(Failure::input(
            "--transform: expected --model with the map to place on",
        ));
    };
    let output = Output::file(&arguments.output, arguments.common.overwrite)?;
    let file = File::open(path).map_err(|e| Failure::from(e).context(path.display()))?;
    let (model, points) = UmapModel::load(&mut BufReader::new(file))
        .map_err(|e| Failure::from(e).context(path.display()))?;
    let Some(points) = points else {
        return Err(Failure::input(format!(
            "{}: holds no points; fit again with --model",
            path.display()
        )));
    };
    let codebook = match &points {
        PointSource::Codes(codes) => Some(codes.codebook().to_owned()),
        _ => None,
    };
    let rows = Rows::read(new, codebook)?;
    let source = rows.source(new)?;
    let progress = Progress::new("placing", 1000, arguments.common.quiet);
    let placed = model.transform(&points, &source, &mut |done, _| progress.update(done));
    drop(progress);
    let placed = placed.map_err(|e| Failure::from(e).context(new.display()))?;
    npy::write(output.path(), &placed)?;
    output.commit()
}
