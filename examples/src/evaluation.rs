//! Scores of embeddings against ground truth, with confidence intervals and baselines: what `evaluate` does.

mod baseline;
mod batches;
mod beside;
#[cfg(test)]
pub(crate) mod fixture;
mod pairs;
mod report;
mod scoring;
mod subject;
mod whole;

use std::ops::ControlFlow;
use std::path::PathBuf;

use cytoself_eval::{BootstrapParams, EvalError};
use cytoself_io::{CropTable, EmbeddingStore, open_crops, read_groups};
use cytoself_umap::{ParamGuard, PointSource, UmapParams};
use ndarray::{Array2, ArrayView2};

use crate::cli::{Common, Failure};
use crate::output::Output;
use crate::progress::Progress;

pub use report::Report;
pub use scoring::{Scores, Scoring, knn_macro_f1, score_map, score_representation};
pub use subject::{Subject, Truth};

pub(crate) use baseline::matching_rows;
pub(crate) use subject::rows_of_split;

/// What to evaluate, and against which truth.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Embeddings, as `embed` writes them
    #[arg(long, value_name = "ZARR")]
    pub embeddings: PathBuf,
    /// Ground truth: a CSV of two columns, protein and group
    #[arg(long, value_name = "CSV", conflicts_with = "column")]
    pub groups: Option<PathBuf>,
    /// Ground truth: a column of the crop table; values with `;` name several classes and count as none
    #[arg(long, value_name = "COLUMN", default_value = "localization")]
    pub column: String,
    /// Split to judge on: train, val, test or all
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    pub split: String,
    /// Take neighbours from this split instead of leaving one out of the judged one
    #[arg(long, value_name = "SPLIT")]
    pub reference: Option<String>,
    /// Folder for scores.json, scores.csv and the confusion tables
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Representation to judge
    #[arg(long, value_name = "NAME", default_value = "vqvec2")]
    pub representation: String,
    /// Crops of the embeddings: adds raw pixels and size and intensity features to the table
    #[arg(long, value_name = "CROPS")]
    pub baselines: Option<PathBuf>,
    /// Other embeddings of the same crops, e.g. of `inpaint` or of a model of one channel: adds their rows to the table
    #[arg(long, value_name = "ZARR")]
    pub beside: Vec<PathBuf>,
    /// Column of batches, e.g. plate: scores before and after they are taken out
    #[arg(long, value_name = "COLUMN", num_args = 0..=1, default_missing_value = "plate")]
    pub batches: Option<String>,
    /// Proteins imaged in every batch, by whose crops the batches are made alike, comma-separated [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "batches")]
    pub controls: Vec<String>,
    /// Interactions, a CSV with the columns protein_1,protein_2: similarity of their encodings beside that of other pairs
    #[arg(long, value_name = "CSV")]
    pub interactions: Option<PathBuf>,
    /// Complexes, a CSV of two columns, protein and group: the same for pairs of subunits, and the mean average precision
    #[arg(long, value_name = "CSV")]
    pub complexes: Option<PathBuf>,
    /// Neighbours that vote
    #[arg(long, value_name = "K", default_value_t = 10)]
    pub neighbours: usize,
    /// Resamples for the intervals
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub resamples: usize,
    /// UMAPs to score, with seeds from --seed on; 0 takes the X_umap of the embeddings where there is one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub maps: usize,
    /// Judge at most this many crops, drawn evenly; neighbours cost the square of it
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub limit: usize,
}

impl Arguments {
    /// Evaluation of `embeddings` into `out`, everything else as without flags.
    #[must_use]
    pub fn new(embeddings: PathBuf, out: PathBuf) -> Self {
        Self {
            embeddings,
            groups: None,
            column: "localization".to_string(),
            split: "test".to_string(),
            reference: None,
            out,
            representation: "vqvec2".to_string(),
            baselines: None,
            beside: Vec::new(),
            batches: None,
            controls: Vec::new(),
            interactions: None,
            complexes: None,
            neighbours: 10,
            resamples: 1000,
            maps: 0,
            limit: 20_000,
        }
    }
}

/// Evaluates a store of embeddings and writes the report.
///
/// # Errors
/// - an input cannot be read or does not fit the others; the message names it;
/// - the truth has fewer than two classes among the judged crops;
/// - the output exists and may not be replaced.
pub fn run(arguments: &Arguments, common: &Common) -> Result<Report, Failure> {
    let store = EmbeddingStore::open(&arguments.embeddings)?;
    let truth = match &arguments.groups {
        Some(path) => Truth::Groups(read_groups(path)?),
        None => Truth::Column(arguments.column.clone()),
    };
    let context = |e: Failure| e.context(arguments.embeddings.display());
    let subject = Subject::choose(
        store.obs(),
        &truth,
        &arguments.split,
        arguments.reference.as_deref(),
        arguments.limit,
    )
    .map_err(context)?;
    let output = Output::folder(&arguments.out, common.overwrite)?;
    let mut report = judge(&store, &subject, arguments, common)?;
    whole::leakage(&mut report, store.obs(), &subject)?;
    whole::probe(&mut report, &store, &truth, arguments, common.seed).map_err(context)?;
    judge_pairs(&store, &mut report, arguments, output.path()).map_err(context)?;
    report.write(output.path())?;
    output.commit()?;
    Ok(report)
}

fn judge(
    store: &EmbeddingStore,
    subject: &Subject,
    arguments: &Arguments,
    common: &Common,
) -> Result<Report, Failure> {
    let bootstrap = BootstrapParams {
        resamples: arguments.resamples,
        seed: common.seed,
        ..Default::default()
    };
    let scoring = Scoring {
        neighbours: arguments.neighbours,
        bootstrap,
    };
    let mut report = Report::new(subject, arguments, common.seed);
    let baselines = if arguments.baselines.is_some() { 2 } else { 0 };
    let progress = Progress::new("scoring representations", 2 + baselines, common.quiet);
    let points = dense_of(store, &arguments.representation, &subject.rows)?;
    report.add(
        &arguments.representation,
        score_representation(points.view(), subject, &scoring)?,
    );
    step(&progress, 1)?;
    let maps = maps(store, &points, subject, arguments, common)?;
    for (name, map) in &maps {
        report.add_map(name, score_map(map.view(), subject, &scoring)?);
    }
    if let Some((_, map)) = maps.first() {
        whole::null(&mut report, map.view(), subject, common.seed)?;
    }
    whole::communities(&mut report, points.view(), subject, common.seed)?;
    step(&progress, 2)?;
    if let Some(path) = &arguments.baselines {
        let crops = open_crops(path)?;
        let rows = matching_rows(store.obs(), &subject.rows, crops.table())
            .map_err(|e| e.context(path.display()))?;
        for (at, (name, points)) in baseline::all(crops.as_ref(), &rows)?
            .into_iter()
            .enumerate()
        {
            report.add(
                name,
                score_representation(points.view(), subject, &scoring)?,
            );
            step(&progress, 3 + at as u64)?;
        }
    }
    for path in &arguments.beside {
        let how = (arguments, &scoring, common);
        beside::add(&mut report, path, store.obs(), subject, how)?;
        step(&progress, 2 + baselines)?;
    }
    if let Some(name) = &arguments.batches {
        let batches = (store.obs(), name.as_str(), arguments.controls.as_slice());
        let how = (&scoring, common.seed);
        batches::add(&mut report, points.view(), subject, batches, how)?;
    }
    Ok(report)
}

/// Similarity of proteins that are known to belong together; draws it into `folder`.
fn judge_pairs(
    store: &EmbeddingStore,
    report: &mut Report,
    arguments: &Arguments,
    folder: &std::path::Path,
) -> Result<(), Failure> {
    if arguments.interactions.is_none() && arguments.complexes.is_none() {
        return Ok(());
    }
    let rows = rows_of_split(store.obs(), &arguments.split)?;
    let encodings = pairs::Encodings::of(store, &arguments.representation, &rows)?;
    if let Some(path) = &arguments.interactions {
        let known = encodings.read_pairs(path)?;
        let found = encodings.judge(&known, folder, "interactions")?;
        report.note("interactions", found);
    }
    if let Some(path) = &arguments.complexes {
        let found = encodings.judge_groups(&read_groups(path)?, folder)?;
        report.note("complexes", found);
    }
    Ok(())
}

fn step(progress: &Progress, done: u64) -> Result<(), Failure> {
    match progress.update(done) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Failure::Interrupted("nothing was written".into())),
    }
}

/// The maps to score: the store's own, or new ones of the judged crops, one per seed.
fn maps(
    store: &EmbeddingStore,
    points: &Array2<f32>,
    subject: &Subject,
    arguments: &Arguments,
    common: &Common,
) -> Result<Vec<(String, Array2<f32>)>, Failure> {
    if arguments.maps == 0 && store.arrays().any(|name| name == "X_umap") {
        return Ok(vec![(
            "X_umap".into(),
            dense_of(store, "X_umap", &subject.rows)?,
        )]);
    }
    new_maps(points.view(), arguments.maps.max(1), common)
}

/// Maps of points, one per seed from `--seed` on, with their names.
fn new_maps(
    points: ArrayView2<'_, f32>,
    count: usize,
    common: &Common,
) -> Result<Vec<(String, Array2<f32>)>, Failure> {
    let map = |seed| -> Result<(String, Array2<f32>), Failure> {
        let params = UmapParams::default().seed(seed).check()?;
        let model = params.fit(&PointSource::dense(points)?, &mut |_, _| go_on())?;
        Ok((format!("umap (seed {seed})"), model.embedding().to_owned()))
    };
    (common.seed..common.seed + count as u64).map(map).collect()
}

fn go_on() -> ControlFlow<()> {
    if crate::progress::interrupted() {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// Rows read at once.
const BLOCK: usize = 4096;

/// Some rows of an array, in the order given, read block by block so that the rest is never in memory.
fn dense_of(store: &EmbeddingStore, name: &str, rows: &[usize]) -> Result<Array2<f32>, Failure> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&at| rows[at]);
    let mut chosen = Array2::zeros((rows.len(), store.width(name)?));
    let mut order = order.into_iter().peekable();
    for start in (0..store.len()).step_by(BLOCK) {
        let end = (start + BLOCK).min(store.len());
        if order.peek().is_none_or(|&at| rows[at] >= end) {
            continue;
        }
        let block = store.dense_rows(name, start..end)?;
        while let Some(at) = order.next_if(|&at| rows[at] < end) {
            chosen.row_mut(at).assign(&block.row(rows[at] - start));
        }
    }
    Ok(chosen)
}

/// An error of the scores as a failure of the input.
fn failure(error: EvalError) -> Failure {
    Failure::from(error)
}

/// Text of a column that every store of crops has.
pub(crate) fn column<'a>(
    table: &'a CropTable,
    name: &str,
) -> Result<&'a cytoself_io::TextColumn, Failure> {
    table.text(name).ok_or_else(|| {
        let columns = table.columns().collect::<Vec<_>>().join(", ");
        Failure::input(format!(
            "no text column `{name}`; the columns are {columns}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_scored_from_end_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let embeddings = dir.path().join("e.zarr");
        fixture::write_store(&embeddings);
        let arguments = Arguments {
            resamples: 50,
            maps: 1,
            limit: 1000,
            ..Arguments::new(embeddings, dir.path().join("evaluation"))
        };
        let report = run(&arguments, &fixture::common()).unwrap();
        let scores: serde_json::Value = serde_json::from_str(
            &std::fs::read_to_string(arguments.out.join("scores.json")).unwrap(),
        )
        .unwrap();
        for name in [
            "knn_macro_f1",
            "knn_accuracy",
            "knn_macro_f1_other_proteins",
            "silhouette",
        ] {
            let [low, value, high] =
                ["low", "value", "high"].map(|end| scores[name][end].as_f64().unwrap());
            assert!(
                low <= value + 0.1 && value <= high + 0.1,
                "{name}: {low} {value} {high}"
            );
        }
        assert!(
            scores["clustering_score"]["robust"]["value"]
                .as_f64()
                .unwrap()
                > 0.0
        );
        let f1 = report
            .scores("vqvec2")
            .unwrap()
            .get("knn_macro_f1")
            .unwrap()
            .value;
        // Chance is a third; two fifths of the codes say nothing of the localisation.
        assert!(f1 > 0.7, "{f1}");
        // Another store, batches and pairs in the same report.
        let complexes = dir.path().join("complexes.csv");
        std::fs::write(&complexes, "P0,er\nP1,er\nP2,golgi\nP3,golgi\n").unwrap();
        let more = Arguments {
            out: dir.path().join("more"),
            beside: vec![arguments.embeddings.clone()],
            batches: Some("fov".into()),
            complexes: Some(complexes),
            ..arguments.clone()
        };
        let report = run(&more, &fixture::common()).unwrap();
        let f1 = |name: &str| report.scores(name).unwrap().get("knn_macro_f1").unwrap();
        assert_eq!(f1("e: vqvec2"), f1("vqvec2"));
        let batches = report.scores("64 components, fov whitened (TVN)").unwrap();
        // Both fields are drawn alike: nothing tells them apart.
        assert!(batches.get("batch_knn_accuracy").unwrap().value < 0.65);
        let text = std::fs::read_to_string(more.out.join("scores.json")).unwrap();
        assert!(text.contains("mean_average_precision"));
        let scores: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(scores["leiden"]["ami"].as_f64().unwrap() > 0.3, "{scores}");
        let shuffled = &scores["clustering_score_of_shuffled_labels"];
        assert!(shuffled["p_value"].as_f64().unwrap() < 0.02, "{shuffled}");
        // The store holds test crops only: nothing to learn from, nothing to leak.
        assert!(scores["leakage"].is_null() && scores["linear_probe"].is_null());
        assert!(more.out.join("complexes.png").is_file());
        // Again without permission to replace.
        assert!(run(&arguments, &fixture::common()).is_err());
    }
}
