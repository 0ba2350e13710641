use std::fs;
use std::path::Path;

use cytoself_io::CropTable;
use cytoself_spectrum::{Biclustering, Dispersion};
use serde_json::json;

use super::{Arguments, Found, integers, named_segments, save};
use crate::cli::Failure;

/// Version of the format of the folder.
const FORMAT: u32 = 1;

/// Correlation, tree, order, clusters, histograms and spectra as arrays.
pub(super) fn matrices(folder: &Path, found: &Found) -> Result<(), Failure> {
    let biclustering = &found.biclustering;
    save(folder, "histograms.npy", &found.histograms)?;
    save(folder, "correlation.npy", &biclustering.correlation.matrix)?;
    save(folder, "linkage.npy", &biclustering.linkage.to_scipy())?;
    save(folder, "order.npy", &integers(&biclustering.order))?;
    save(folder, "clusters.npy", &integers(&biclustering.clusters))?;
    save(folder, "spectra.npy", &found.spectra.rows().to_owned())?;
    save(folder, "consensus.npy", &found.families.consensus)?;
    fs::write(
        folder.join("proteins.txt"),
        found.proteins.join("\n") + "\n",
    )?;
    fs::write(
        folder.join("families.txt"),
        found.families.names.join("\n") + "\n",
    )?;
    Ok(())
}

/// One line per protein: family, crops, coherence of its cells, and the share of every feature cluster.
pub(super) fn spectra(
    folder: &Path,
    found: &Found,
    spread: &[Dispersion],
    crops: &[u64],
) -> Result<(), Failure> {
    let segments = named_segments(&found.biclustering);
    let mut table = csv::Writer::from_path(folder.join("proteins.csv"))?;
    let head = ["protein", "family", "crops", "coherence", "perplexity"].map(String::from);
    table.write_record(
        head.into_iter()
            .chain(segments.iter().map(|(name, _)| format!("cluster_{name}"))),
    )?;
    // The spread is by the table's proteins; those without crops are not in `found`.
    let present = spread
        .iter()
        .zip(crops)
        .filter(|(_, crops)| **crops > 0)
        .map(|(s, _)| s);
    for ((at, spread), row) in present.enumerate().zip(found.spectra.rows().outer_iter()) {
        let family = found.families.of[at].map_or("", |f| &found.families.names[f]);
        let coherence = spread
            .coherence
            .map_or(String::new(), |c| format!("{c:.6}"));
        let total = row.sum();
        let shares = segments.iter().map(|(_, range)| {
            let inside: f64 = range.clone().map(|position| row[position]).sum();
            format!("{:.6}", inside / total.max(f64::MIN_POSITIVE))
        });
        let start = [
            found.proteins[at].clone(),
            family.to_string(),
            spread.crops.to_string(),
            coherence,
            format!("{:.3}", spread.perplexity),
        ];
        table.write_record(start.into_iter().chain(shares))?;
    }
    Ok(table.flush()?)
}

/// Correlation of the queried proteins with every family, best first.
pub(super) fn correlations(folder: &Path, found: &Found, queries: &[usize]) -> Result<(), Failure> {
    let mut table = csv::Writer::from_path(folder.join("queries.csv"))?;
    table.write_record(["protein", "own_family", "rank", "family", "correlation"])?;
    for &protein in queries {
        let query = found.families.query(&found.spectra, protein)?;
        let own = found.families.of[protein].map_or("", |f| &found.families.names[f]);
        for (rank, family) in query.correlations.iter().enumerate() {
            let r = family
                .correlation
                .map_or(String::new(), |r| format!("{r:.9}"));
            let name = &found.families.names[family.family];
            table.write_record([
                found.proteins[query.protein].as_str(),
                own,
                &(rank + 1).to_string(),
                name,
                &r,
            ])?;
        }
    }
    Ok(table.flush()?)
}

/// The representative crops of each feature cluster.
pub(super) fn representatives(
    folder: &Path,
    chosen: &[Vec<usize>],
    rows: &[usize],
    obs: &CropTable,
    biclustering: &Biclustering,
) -> Result<(), Failure> {
    let mut table = csv::Writer::from_path(folder.join("representatives.csv"))?;
    table.write_record(["cluster", "rank", "row", "crop", "protein"])?;
    let text = |column: &str, row: usize| {
        obs.text(column)
            .map_or(String::new(), |c| c.get(row).to_string())
    };
    for ((name, _), chosen) in named_segments(biclustering).iter().zip(chosen) {
        for (rank, &at) in chosen.iter().enumerate() {
            let row = rows[at];
            table.write_record([
                name,
                &(rank + 1).to_string(),
                &row.to_string(),
                &text("crop", row),
                &text("protein", row),
            ])?;
        }
    }
    Ok(table.flush()?)
}

/// How the folder was made.
pub(super) fn made(folder: &Path, arguments: &Arguments, found: &Found) -> Result<(), Failure> {
    let constant = found
        .biclustering
        .correlation
        .constant
        .iter()
        .filter(|&&c| c)
        .count();
    let clusters: Vec<_> = named_segments(&found.biclustering)
        .into_iter()
        .zip(found.biclustering.segments())
        .map(|((name, range), (number, _))| json!({ "name": name, "number": number, "from": range.start, "to": range.end }))
        .collect();
    let value = json!({
        "format": "cytoself-spectrum",
        "version": FORMAT,
        "tool": concat!("cytoself spectrum ", env!("CARGO_PKG_VERSION")),
        "embeddings": arguments.embeddings.display().to_string(),
        "level": arguments.level,
        "split": arguments.split,
        "leaf_order": if arguments.optimal { "optimal" } else { "plain" },
        "neighbour_distance": found.biclustering.distances.path_length(&found.biclustering.order),
        "codes": found.biclustering.order.len(),
        "codes_used_alike_by_all": constant,
        "proteins": found.proteins.len(),
        "crops": found.crops.iter().sum::<u64>(),
        "held_out": found.assignments.to_json(),
        "clusters": clusters,
    });
    Ok(fs::write(
        folder.join("spectrum.json"),
        format!("{value:#}\n"),
    )?)
}
