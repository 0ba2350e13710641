//! `atlas`: a map of the embeddings, as an offline page, pictures and tables.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::atlas::{AtlasParams, DEFAULT_PICTURES, write_atlas};
use cytoself_examples::cli::{self, Common, Failure, HasCommon};
use cytoself_examples::output::Output;
use cytoself_examples::progress::Progress;
use cytoself_umap::UmapParams;

/// Maps embeddings and writes the atlas.
///
/// Writes atlas.html (one file that needs no network), umap.npy, umap.png, umap.svg, figure2.png, figure2.svg,
/// atlas.parquet and atlas.csv, and the pictures that --path and --complexes ask for; the coordinates also go into the embeddings as obsm/X_umap.
#[derive(Debug, Parser)]
#[command(
    name = "atlas",
    version,
    after_help = "Example:\n  cargo run --release --example atlas -- --embeddings out/embeddings.zarr --crops out/crops.zarr --out out/atlas --split test"
)]
struct Arguments {
    /// Embeddings, as written by `embed`
    #[arg(long, value_name = "E")]
    embeddings: PathBuf,
    /// Folder to write
    #[arg(long, value_name = "A")]
    out: PathBuf,
    /// Column that colours the points first [default: group, localization or protein]
    #[arg(long, value_name = "COLUMN")]
    color_by: Option<String>,
    /// Table protein,group; adds the column group
    #[arg(long, value_name = "F.csv")]
    groups: Option<PathBuf>,
    /// Crops of this split only: train, val or test
    #[arg(long, value_name = "SPLIT")]
    split: Option<String>,
    /// Crops for the pictures [default: where the embeddings say they came from]
    #[arg(long, value_name = "D")]
    crops: Option<PathBuf>,
    /// Pictures in the page at most; evenly spread if there are more crops, 0 for none
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PICTURES)]
    pictures: usize,
    /// Representation to map
    #[arg(long, value_name = "NAME", default_value = "vqvec2")]
    representation: String,
    /// Neighbours of the map, the point itself counted
    #[arg(long, value_name = "K", default_value_t = 15)]
    n_neighbors: usize,
    /// Smallest distance of points on the map
    #[arg(long, value_name = "D", default_value_t = 0.1)]
    min_dist: f64,
    /// Two proteins, comma-separated: draws the crops on the way from one to the other over the map
    #[arg(long, value_name = "FROM,TO", value_delimiter = ',')]
    path: Vec<String>,
    /// Complexes, a table protein,group: draws their outlines on the map
    #[arg(long, value_name = "F.csv")]
    complexes: Option<PathBuf>,
    /// Heading of the page
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "Protein localisation atlas"
    )]
    title: String,
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
    let common = &arguments.common;
    let umap = UmapParams::default()
        .n_neighbors(arguments.n_neighbors)
        .min_dist(arguments.min_dist)
        .seed(common.seed);
    let route = match <[String; 2]>::try_from(arguments.path) {
        Ok(ends) => Some(ends),
        Err(path) if path.is_empty() => None,
        Err(path) => {
            return Err(Failure::input(format!(
                "--path {}: expected two proteins, FROM,TO",
                path.join(",")
            )));
        }
    };
    let params = AtlasParams {
        representation: arguments.representation,
        umap,
        color_by: arguments.color_by,
        groups: arguments.groups,
        split: arguments.split,
        crops: arguments.crops,
        pictures: arguments.pictures,
        route,
        complexes: arguments.complexes,
        title: arguments.title,
    };
    common.say(format!(
        "mapping {}, seed {}",
        arguments.embeddings.display(),
        common.seed
    ));
    let output = Output::folder(&arguments.out, common.overwrite)?;
    let progress = Progress::new("mapping", 1000, common.quiet);
    let summary = write_atlas(
        &arguments.embeddings,
        output.path(),
        &params,
        &mut |done, _| progress.update(done),
    )?;
    drop(progress);
    output.commit()?;
    common.say(format!("{} points: {}", summary.points, summary.map));
    common.say(format!("{} of them have a picture", summary.pictures));
    common.say(format!(
        "open {} in a browser",
        arguments.out.join("atlas.html").display()
    ));
    Ok(())
}
