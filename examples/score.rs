//! Scores a labelled map: clustering score, silhouette, leave-one-out nearest-neighbour votes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use cytoself_eval::{
    Centre, Exclusions, Labels, classify, clustering_score, nearest_neighbours, silhouette_samples,
};
use cytoself_examples::cli::{self, Common, Failure, HasCommon};
use cytoself_io::npy;
use ndarray::{Array2, Axis};
use serde_json::json;

/// Neighbours that vote.
const NEIGHBOURS: usize = 10;

/// Score how well the classes of a map are compact and apart; JSON on standard output.
#[derive(Debug, Parser)]
#[command(
    name = "score",
    version,
    after_help = "Example:\n  cargo run --release --example score -- --coordinates umap.npy --labels labels.txt --exclude others"
)]
struct Arguments {
    /// Coordinates, f32 or f64 [n, d]
    #[arg(long, value_name = "FILE")]
    coordinates: PathBuf,
    /// Labels, one per line; an empty line is a point without class
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// Label of points that belong to no class; may be given more than once
    #[arg(long, value_name = "LABEL")]
    exclude: Vec<String>,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(body)
}

fn body(arguments: Arguments) -> Result<(), Failure> {
    let points = read_coordinates(&arguments.coordinates)?;
    let exclude: Vec<&str> = arguments.exclude.iter().map(String::as_str).collect();
    let labels = read_labels(&arguments.labels, &exclude)?;
    let name = || {
        format!(
            "{} with {}",
            arguments.coordinates.display(),
            arguments.labels.display()
        )
    };
    let scores = score(&points, &labels).map_err(|e| e.context(name()))?;
    println!("{scores:#}");
    Ok(())
}

fn read_coordinates(path: &Path) -> Result<Array2<f64>, Failure> {
    let array = npy::read_f64(path)?;
    let shape = array.shape().to_vec();
    array.into_dimensionality().map_err(|_| {
        Failure::input(format!(
            "{}: expected [points, dimensions], found an array of shape {shape:?}",
            path.display()
        ))
    })
}

fn read_labels(path: &Path, exclude: &[&str]) -> Result<Labels, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|e| Failure::from(e).context(path.display()))?;
    Ok(Labels::new(text.lines().map(str::trim), exclude))
}

fn score(points: &Array2<f64>, labels: &Labels) -> Result<serde_json::Value, Failure> {
    let clustering = clustering_score(points.view(), labels, Centre::Coordinatewise)?;
    let turning = clustering_score(points.view(), labels, Centre::Geometric)?;
    let (rows, silhouettes) = silhouette_samples(points.view(), labels)?;
    let classed = Labels::new(rows.iter().map(|&row| name_of(labels, row)), &[]);
    let neighbours = nearest_neighbours(
        points.select(Axis(0), &rows).view(),
        NEIGHBOURS,
        &Exclusions::none(),
    )?;
    let votes = classify(&neighbours, &classed, |_, _| true)?;
    let classes = votes.confusion().classes();
    let per_class: serde_json::Map<_, _> = classed
        .names()
        .iter()
        .zip(&classes)
        .map(|(name, scores)| (name.clone(), json!(scores.f1)))
        .collect();
    Ok(json!({
        "clustering_score": { "robust": clustering.robust, "reference": clustering.reference },
        "clustering_score_geometric": { "robust": turning.robust, "reference": turning.reference },
        "silhouette": silhouettes.iter().sum::<f64>() / silhouettes.len() as f64,
        "knn_macro_f1": votes.macro_f1(),
        "knn_accuracy": votes.accuracy(),
        "knn_f1": per_class,
        "points": rows.len(),
        "classes": classed.names(),
    }))
}

fn name_of(labels: &Labels, row: usize) -> &str {
    labels.classes()[row].map_or("", |class| &labels.names()[class])
}
