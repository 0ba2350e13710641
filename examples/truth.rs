//! `truth`: the two ground truths of the paper from OpenCell's and CORUM's tables.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use cytoself_examples::cli::{self, Common, Failure, HasCommon};
use cytoself_examples::output::Output;
use cytoself_io::{
    CropTable, Groups, disjoint_complexes, open_crops, read_annotations, read_complexes,
    unique_localizations,
};

/// Makes organelles.csv and complexes.csv (protein,group) for `evaluate`, `ablate`, `atlas` and `spectrum`.
///
/// Organelles: proteins with exactly one annotation, of the highest grade. Complexes: those with all subunits among the
/// proteins, more than one subunit, and no subunit shared with another; the largest are taken first.
#[derive(Debug, Parser)]
#[command(
    name = "truth",
    version,
    after_help = "Example:\n  cargo run --release --example truth -- --annotations opencell-localization-annotations.csv --complexes corum.csv --out truth"
)]
struct Cli {
    /// OpenCell's annotations, one row per annotation or per protein
    #[arg(long, value_name = "CSV")]
    annotations: PathBuf,
    /// Complexes, one row per subunit: the columns complex and gene_names
    #[arg(long, value_name = "CSV")]
    complexes: Option<PathBuf>,
    /// Proteins of the data, the column target_name or protein [default: those of the annotations]
    #[arg(long, value_name = "CSV")]
    targets: Option<PathBuf>,
    /// Crops: only proteins that have some count
    #[arg(long, value_name = "DIR", conflicts_with = "targets")]
    data: Option<PathBuf>,
    /// Folder for organelles.csv and complexes.csv
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl HasCommon for Cli {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    cli::run(body)
}

fn body(arguments: Cli) -> Result<(), Failure> {
    let common = &arguments.common;
    let annotations = read_annotations(&arguments.annotations)?;
    let annotated = || annotations.iter().map(|a| a.protein.clone()).collect();
    let proteins: BTreeSet<String> = match (&arguments.targets, &arguments.data) {
        (Some(path), _) => names(&CropTable::from_csv(path)?, path)?,
        (_, Some(path)) => names(open_crops(path)?.table(), path)?,
        _ => annotated(),
    };
    let organelles = among(&unique_localizations(&annotations), &proteins)?;
    let output = Output::folder(&arguments.out, common.overwrite)?;
    organelles.to_csv(&output.path().join("organelles.csv"))?;
    common.say(describe("organelles", "localisations", &organelles));
    if let Some(path) = &arguments.complexes {
        let known = read_complexes(path)?;
        let complexes = disjoint_complexes(&known, proteins.iter().map(String::as_str));
        complexes.to_csv(&output.path().join("complexes.csv"))?;
        common.say(describe("complexes", "complexes", &complexes));
    }
    output.commit()
}

fn names(table: &CropTable, path: &Path) -> Result<BTreeSet<String>, Failure> {
    let column = ["target_name", "protein"]
        .iter()
        .find_map(|c| table.text(c));
    let column = column.ok_or_else(|| {
        let columns = table.columns().collect::<Vec<_>>().join(", ");
        Failure::input(format!(
            "{}: expected a column target_name or protein, found {columns}",
            path.display()
        ))
    })?;
    Ok(column.categories().map(str::to_string).collect())
}

fn among(groups: &Groups, proteins: &BTreeSet<String>) -> Result<Groups, Failure> {
    let mut kept = Groups::default();
    for (protein, group) in groups.iter().filter(|(p, _)| proteins.contains(*p)) {
        kept.insert(protein, group)?;
    }
    Ok(kept)
}

fn describe(file: &str, what: &str, groups: &Groups) -> String {
    let distinct: BTreeSet<&str> = groups.iter().map(|(_, g)| g).collect();
    format!(
        "{file}.csv: {} proteins of {} {what}",
        groups.len(),
        distinct.len()
    )
}
