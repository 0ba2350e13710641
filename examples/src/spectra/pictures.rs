use std::path::Path;

use cytoself_io::{CropSource, CropTable};
use cytoself_spectrum::{Biclustering, Linkage};
use ndarray::{Array2, ArrayView2, Axis, concatenate};

use super::{Found, named_segments};
use crate::cli::Failure;
use crate::plot::{self, Bracket, Clustermap, Montage, SpectrumPanels, Tile};
use crate::tiles::protein_images;

/// Queried proteins that are drawn; all of them are in the table.
const DRAWN: usize = 6;

/// Cells along a side of the SVG, which stores each as a rectangle.
const SVG_CELLS: usize = 150;

/// Tree, clusters and correlations, as PNG and SVG.
pub(super) fn clustermap(folder: &Path, found: &Found) -> Result<(), Failure> {
    let biclustering = &found.biclustering;
    let matrix = biclustering.ordered_correlation();
    let tree = brackets(&biclustering.linkage, &biclustering.order);
    let clusters = named_segments(biclustering);
    let title = format!(
        "{} codes over {} proteins",
        biclustering.order.len(),
        found.proteins.len()
    );
    let families = family_of_codes(found.families.consensus.view());
    let map = || {
        Clustermap::new(matrix.view(), &tree, &clusters)
            .title(title.clone())
            .track("family", &families, &found.families.names)
    };
    plot::save(&map(), &folder.join("clustermap.png"))?;
    plot::save(&map().cells(SVG_CELLS), &folder.join("clustermap.svg"))
}

/// Consensus spectra of the families and spectra of the queried proteins.
pub(super) fn spectra(folder: &Path, found: &Found, queries: &[usize]) -> Result<(), Failure> {
    let clusters = named_segments(&found.biclustering);
    let drawn: Vec<usize> = queries.iter().copied().take(DRAWN).collect();
    let own = found.spectra.rows().select(Axis(0), &drawn);
    let rows: Array2<f64> = concatenate(Axis(0), &[found.families.consensus.view(), own.view()])
        .map_err(Failure::other)?;
    let names: Vec<String> = found
        .families
        .names
        .iter()
        .cloned()
        .chain(drawn.iter().map(|&p| found.proteins[p].clone()))
        .collect();
    let panels = SpectrumPanels::new(rows.view(), &names, &clusters)
        .title("feature spectra: mean occurrences per crop");
    plot::save(&panels, &folder.join("spectra.png"))?;
    plot::save(&panels, &folder.join("spectra.svg"))
}

/// The representative crops of each feature cluster.
pub(super) fn representatives(
    folder: &Path,
    chosen: &[Vec<usize>],
    rows: &[usize],
    obs: &CropTable,
    crops: &dyn CropSource,
    biclustering: &Biclustering,
) -> Result<(), Failure> {
    let wanted: Vec<usize> = chosen.concat().into_iter().map(|at| rows[at]).collect();
    let images = protein_images(crops, obs, &wanted)?;
    let mut images = images.iter().zip(&wanted);
    let name = |row: usize| {
        obs.text("protein")
            .map_or(String::new(), |c| c.get(row).to_string())
    };
    let montage = named_segments(biclustering)
        .into_iter()
        .zip(chosen)
        .map(|((segment, range), chosen)| {
            let tiles = images.by_ref().take(chosen.len());
            let tiles = tiles
                .map(|(image, &row)| Tile {
                    image: image.view(),
                    caption: name(row),
                    glow: None,
                })
                .collect();
            (format!("{segment} ({} codes)", range.len()), tiles)
        })
        .collect();
    plot::save(
        &Montage::new(
            "crops with the largest share of each feature cluster",
            montage,
        ),
        &folder.join("representatives.png"),
    )
}

/// For every position the family in which its code occurs most; none for a code that no family uses.
fn family_of_codes(consensus: ArrayView2<'_, f64>) -> Vec<Option<usize>> {
    consensus
        .axis_iter(Axis(1))
        .map(|code| {
            let best = (0..code.len()).max_by(|&a, &b| code[a].total_cmp(&code[b]));
            best.filter(|&family| code[family] > 0.0)
        })
        .collect()
}

/// The tree as brackets over positions.
fn brackets(tree: &Linkage, order: &[usize]) -> Vec<Bracket> {
    let mut nodes = vec![(0.0, 0.0); tree.points()];
    order
        .iter()
        .enumerate()
        .for_each(|(position, &leaf)| nodes[leaf] = (position as f64 + 0.5, 0.0));
    let mut brackets = Vec::with_capacity(tree.merges().len());
    for merge in tree.merges() {
        let [a, b] = merge.children.map(|child| nodes[child]);
        brackets.push(Bracket {
            sides: [a.0, b.0],
            from: [a.1, b.1],
            height: merge.height,
        });
        nodes.push((f64::midpoint(a.0, b.0), merge.height));
    }
    brackets
}
