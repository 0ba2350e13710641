//! Orders codes by how proteins use them: correlation, tree, leaf order and clusters of a histogram matrix.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, Failure, HasCommon};
use cytoself_examples::output::Output;
use cytoself_io::npy;
use cytoself_spectrum::{Biclustering, BiclusteringParams, LeafOrdering};
use ndarray::{Array1, Array2, Axis};

/// Order the codes of a histogram matrix by hierarchical clustering of their correlations.
#[derive(Debug, Parser)]
#[command(
    name = "biclust",
    version,
    after_help = "Example:\n  cargo run --release --example biclust -- --histograms H.npy --output out/biclust --optimal"
)]
struct Arguments {
    /// Histograms, f64 or f32 [proteins, codes]
    #[arg(long, value_name = "FILE")]
    histograms: PathBuf,
    /// Folder for correlation.npy, linkage.npy, order.npy and clusters.npy
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Order the leaves so that neighbours are as near as the tree allows
    #[arg(long)]
    optimal: bool,
    /// Feature clusters to cut
    #[arg(long, value_name = "N", default_value_t = 11)]
    clusters: usize,
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
    let ordering = if arguments.optimal {
        LeafOrdering::Optimal
    } else {
        LeafOrdering::Plain
    };
    let params = BiclusteringParams::default()
        .clusters(arguments.clusters)
        .ordering(ordering)
        .check()?;
    let histograms = read_histograms(&arguments.histograms, &arguments.common)?;
    let output = Output::folder(&arguments.output, arguments.common.overwrite)?;
    let found = Biclustering::of(histograms.view(), &params)
        .map_err(|e| Failure::from(e).context(arguments.histograms.display()))?;
    write(output.path(), &found)?;
    output.commit()?;
    let constant = found.correlation.constant.iter().filter(|&&c| c).count();
    arguments.common.say(format!(
        "{} codes ({constant} used alike by all proteins), {} clusters, neighbour distance {:.6} -> {}",
        found.order.len(),
        found.segments().len(),
        found.distances.path_length(&found.order),
        arguments.output.display()
    ));
    Ok(())
}

/// Reads the matrix without the rows of proteins that had no crop (all NaN, as a mean over nothing gives).
fn read_histograms(path: &Path, common: &Common) -> Result<Array2<f64>, Failure> {
    let array = npy::read_f64(path)?;
    let shape = array.shape().to_vec();
    let histograms: Array2<f64> = array.into_dimensionality().map_err(|_| {
        Failure::input(format!(
            "{}: expected [proteins, codes], found an array of shape {shape:?}",
            path.display()
        ))
    })?;
    let kept: Vec<usize> = (0..histograms.nrows())
        .filter(|&row| !histograms.row(row).iter().all(|v| v.is_nan()))
        .collect();
    if kept.len() == histograms.nrows() {
        return Ok(histograms);
    }
    common.say(format!(
        "left out {} rows of NaN (proteins without crops)",
        histograms.nrows() - kept.len()
    ));
    Ok(histograms.select(Axis(0), &kept))
}

fn write(folder: &Path, found: &Biclustering) -> Result<(), Failure> {
    let integers = |values: &[usize]| values.iter().map(|&v| v as i64).collect::<Array1<i64>>();
    npy::write(&folder.join("correlation.npy"), &found.correlation.matrix)?;
    npy::write(&folder.join("linkage.npy"), &found.linkage.to_scipy())?;
    npy::write(&folder.join("order.npy"), &integers(&found.order))?;
    npy::write(&folder.join("clusters.npy"), &integers(&found.clusters))?;
    Ok(())
}
