//! Feature spectra from a store of embeddings: what `spectrum` does.

mod families;
mod held_out;
mod pictures;
mod tables;

use std::path::PathBuf;

use cytoself_io::{EmbeddingStore, npy, open_crops};
use cytoself_spectrum::{
    Biclustering, BiclusteringParams, FeatureSpectra, HistogramAccumulator, LeafOrdering,
    SpectrumError, cluster_shares, dispersion, representatives,
};
use ndarray::{Array1, Array2, Axis};

use crate::cli::{Common, Failure};
use crate::output::Output;

pub use families::Families;
pub use held_out::Assignments;

/// Crops read at once.
const BLOCK: usize = 4096;

/// Representative crops per feature cluster, as in the paper.
const REPRESENTATIVES: usize = 4;

/// What to compute spectra of.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Embeddings, as `embed` writes them
    #[arg(long, value_name = "ZARR")]
    pub embeddings: PathBuf,
    /// Folder for the matrices, tables and pictures
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Feature clusters to cut
    #[arg(long, value_name = "N", default_value_t = 11)]
    pub clusters: usize,
    /// Protein whose spectrum is correlated with every family; may be given more than once [default: every protein]
    #[arg(long, value_name = "PROTEIN")]
    pub query: Vec<String>,
    /// Codebook: 1 for the local, 2 for the global representation
    #[arg(long, value_name = "LEVEL", default_value_t = 1)]
    pub level: u32,
    /// Split to use: train, val, test or all
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    pub split: String,
    /// Families: a CSV of two columns, protein and group
    #[arg(long, value_name = "CSV", conflicts_with = "column")]
    pub groups: Option<PathBuf>,
    /// Families: a column of the crop table; values with `;` belong to none
    #[arg(long, value_name = "COLUMN", default_value = "localization")]
    pub column: String,
    /// Order the leaves so that neighbours are as near as the tree allows
    #[arg(long)]
    pub optimal: bool,
    /// Crops of the embeddings: adds pictures of representative crops
    #[arg(long, value_name = "CROPS")]
    pub data: Option<PathBuf>,
}

/// What was found, for the caller to go on with.
#[derive(Debug, Clone)]
pub struct Found {
    /// Names of the proteins with crops.
    pub proteins: Vec<String>,
    /// Crops per protein.
    pub crops: Vec<u64>,
    /// Mean code histograms, `[proteins, codes]`.
    pub histograms: Array2<f64>,
    /// Correlation, tree, order and clusters of the codes.
    pub biclustering: Biclustering,
    /// Spectra of the proteins.
    pub spectra: FeatureSpectra,
    /// Families and their consensus.
    pub families: Families,
    /// Families that proteins held out of the training were assigned to; empty where none was.
    pub assignments: Assignments,
}

/// Computes the spectra of a store and writes matrices, tables and pictures.
///
/// # Errors
/// - an input cannot be read or does not fit the others; the message names it;
/// - a query is no protein of the split;
/// - the output exists and may not be replaced.
pub fn run(arguments: &Arguments, common: &Common) -> Result<Found, Failure> {
    let params = params(arguments)?;
    let context = |e: Failure| e.context(arguments.embeddings.display());
    let store = EmbeddingStore::open(&arguments.embeddings)?;
    let rows = crate::evaluation::rows_of_split(store.obs(), &arguments.split).map_err(context)?;
    let indices = indices_of(&store, &format!("vqind{}", arguments.level), &rows)?;
    let codes = store.codebook(arguments.level)?.nrows();
    let output = Output::folder(&arguments.out, common.overwrite)?;

    let (protein, names) = proteins_of(&store, &rows).map_err(context)?;
    let mut sums = HistogramAccumulator::new(names.len(), codes);
    sums.add(&protein, indices.view())?;
    let found = cluster(&store, &rows, names, &sums, &params, arguments).map_err(context)?;
    let queries = found
        .families
        .queries(&found.proteins, &arguments.query)
        .map_err(context)?;

    let spread = dispersion(indices.view(), codes, &protein, sums.crops().len())?;
    let chosen = choose_representatives(&indices, &protein, &found.biclustering)?;
    tables::matrices(output.path(), &found)?;
    tables::spectra(output.path(), &found, &spread, sums.crops())?;
    tables::correlations(output.path(), &found, &queries)?;
    found.assignments.write(output.path(), &found)?;
    tables::representatives(
        output.path(),
        &chosen,
        &rows,
        store.obs(),
        &found.biclustering,
    )?;
    tables::made(output.path(), arguments, &found)?;
    pictures::clustermap(output.path(), &found)?;
    pictures::spectra(output.path(), &found, &queries)?;
    if let Some(path) = &arguments.data {
        let crops = open_crops(path)?;
        pictures::representatives(
            output.path(),
            &chosen,
            &rows,
            store.obs(),
            crops.as_ref(),
            &found.biclustering,
        )
        .map_err(|e| e.context(path.display()))?;
    }
    output.commit()?;
    Ok(found)
}

fn params(
    arguments: &Arguments,
) -> Result<cytoself_spectrum::ValidBiclusteringParams, SpectrumError> {
    let ordering = if arguments.optimal {
        LeafOrdering::Optimal
    } else {
        LeafOrdering::Plain
    };
    BiclusteringParams::default()
        .clusters(arguments.clusters)
        .ordering(ordering)
        .check()
}

/// Protein of each row, and the names.
fn proteins_of(
    store: &EmbeddingStore,
    rows: &[usize],
) -> Result<(Vec<usize>, Vec<String>), Failure> {
    let column = crate::evaluation::column(store.obs(), "protein")?;
    let protein = rows
        .iter()
        .map(|&row| column.codes()[row] as usize)
        .collect();
    Ok((protein, column.categories().map(str::to_string).collect()))
}

/// Codes of some rows, read block by block so that the rest of the store is never in memory.
fn indices_of(store: &EmbeddingStore, name: &str, rows: &[usize]) -> Result<Array2<u16>, Failure> {
    let width = store.width(name)?;
    let mut chosen = Array2::zeros((rows.len(), width));
    let mut next = 0;
    for start in (0..store.len()).step_by(BLOCK) {
        let end = (start + BLOCK).min(store.len());
        let inside = rows[next..].iter().take_while(|&&row| row < end).count();
        if inside == 0 {
            continue;
        }
        let block = store.indices_rows(name, start..end)?;
        for &row in &rows[next..next + inside] {
            chosen.row_mut(next).assign(&block.row(row - start));
            next += 1;
        }
    }
    Ok(chosen)
}

fn cluster(
    store: &EmbeddingStore,
    rows: &[usize],
    names: Vec<String>,
    sums: &HistogramAccumulator,
    params: &cytoself_spectrum::ValidBiclusteringParams,
    arguments: &Arguments,
) -> Result<Found, Failure> {
    // A protein without crops in the split has no spectrum; it must not become a row of zeros.
    let kept: Vec<usize> = (0..names.len()).filter(|&p| sums.crops()[p] > 0).collect();
    let histograms = sums.means().select(Axis(0), &kept);
    let proteins: Vec<String> = kept.iter().map(|&p| names[p].clone()).collect();
    let biclustering = Biclustering::of(histograms.view(), params)?;
    let spectra = FeatureSpectra::new(histograms.view(), &biclustering.order)?;
    let held_out: Vec<&str> = store
        .made("held_out")
        .map_or_else(Vec::new, |names| names.split(',').collect());
    let families = Families::of(store.obs(), rows, &proteins, &spectra, &held_out, arguments)?;
    let assignments = Assignments::of(&families, &spectra)?;
    let crops = kept.iter().map(|&p| sums.crops()[p]).collect();
    Ok(Found {
        proteins,
        crops,
        histograms,
        biclustering,
        spectra,
        families,
        assignments,
    })
}

/// Representative rows of each feature cluster, in the order of the segments.
fn choose_representatives(
    indices: &Array2<u16>,
    protein: &[usize],
    biclustering: &Biclustering,
) -> Result<Vec<Vec<usize>>, SpectrumError> {
    let shares = cluster_shares(indices.view(), &biclustering.clusters)?;
    let of =
        |cluster: usize| representatives(shares.column(cluster - 1), protein, REPRESENTATIVES, 1);
    biclustering
        .segments()
        .iter()
        .map(|(cluster, _)| of(*cluster))
        .collect()
}

/// The feature clusters as the paper numbers them, i, ii, iii, ..., with their positions.
fn named_segments(biclustering: &Biclustering) -> Vec<(String, std::ops::Range<usize>)> {
    biclustering
        .segments()
        .into_iter()
        .zip(1..)
        .map(|((_, range), number)| (roman(number), range))
        .collect()
}

fn roman(mut number: usize) -> String {
    const SIGNS: [(usize, &str); 13] = [
        (1000, "m"),
        (900, "cm"),
        (500, "d"),
        (400, "cd"),
        (100, "c"),
        (90, "xc"),
        (50, "l"),
        (40, "xl"),
        (10, "x"),
        (9, "ix"),
        (5, "v"),
        (4, "iv"),
        (1, "i"),
    ];
    let mut text = String::new();
    for (value, sign) in SIGNS {
        while number >= value {
            text.push_str(sign);
            number -= value;
        }
    }
    text
}

/// Whole numbers as an array that NumPy reads as int64.
fn integers(values: &[usize]) -> Array1<i64> {
    values.iter().map(|&v| v as i64).collect()
}

/// Writes an array beside the others.
fn save<T: npy::Element, D: ndarray::Dimension>(
    folder: &std::path::Path,
    name: &str,
    array: &ndarray::ArrayRef<T, D>,
) -> Result<(), Failure> {
    Ok(npy::write(&folder.join(name), array)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_spectra_from_end_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let embeddings = dir.path().join("e.zarr");
        crate::evaluation::fixture::write_store(&embeddings);
        let arguments = Arguments {
            embeddings,
            out: dir.path().join("spectrum"),
            clusters: 5,
            query: vec!["P0".into()],
            level: 1,
            split: "test".into(),
            groups: None,
            column: "localization".into(),
            optimal: true,
            data: None,
        };
        let found = run(&arguments, &crate::evaluation::fixture::common()).unwrap();
        assert_eq!(found.families.names, ["er", "golgi", "nucleolus"]);
        // The other protein of its localisation decides.
        let best = &found
            .families
            .query(&found.spectra, 0)
            .unwrap()
            .correlations[0];
        assert_eq!(best.family, 0);
        assert!(found.biclustering.correlation.constant[31]);
        let files = [
            "clustermap.svg",
            "clustermap.png",
            "spectra.svg",
            "proteins.csv",
            "queries.csv",
            "representatives.csv",
            "spectrum.json",
            "order.npy",
        ];
        for file in files {
            assert!(
                arguments.out.join(file).metadata().unwrap().len() > 0,
                "{file}"
            );
        }
        let unknown = Arguments {
            query: vec!["P9".into()],
            out: dir.path().join("other"),
            ..arguments
        };
        assert!(run(&unknown, &crate::evaluation::fixture::common()).is_err());
    }

    #[test]
    fn roman_numbers() {
        let found: Vec<String> = [1, 4, 9, 11, 40].into_iter().map(roman).collect();
        assert_eq!(found, ["i", "iv", "ix", "xi", "xl"]);
    }
}
