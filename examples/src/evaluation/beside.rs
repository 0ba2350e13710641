//! Other embeddings of the same crops, in the same table.

use std::path::Path;

use cytoself_io::{CropTable, EmbeddingStore};
use cytoself_model::FEATURES;

use super::{
    Arguments, Report, Scoring, Subject, dense_of, matching_rows, new_maps, score_map,
    score_representation,
};
use crate::cli::{Common, Failure};

/// Adds every representation of the store `path` and maps of it: the layers of the baseline, or `--representation`.
pub(super) fn add(
    report: &mut Report,
    path: &Path,
    obs: &CropTable,
    subject: &Subject,
    (arguments, scoring, common): (&Arguments, &Scoring, &Common),
) -> Result<(), Failure> {
    let store = EmbeddingStore::open(path)?;
    let context = |e: Failure| e.context(path.display());
    let rows = matching_rows(obs, &subject.rows, store.obs()).map_err(context)?;
    let is_baseline = FEATURES.iter().all(|f| store.arrays().any(|a| a == *f));
    let representations = if is_baseline {
        FEATURES.map(String::from).to_vec()
    } else {
        vec![arguments.representation.clone()]
    };
    for representation in representations {
        let points = dense_of(&store, &representation, &rows)?;
        let name = format!("{}: {representation}", label(path));
        report.add(
            &name,
            score_representation(points.view(), subject, scoring)?,
        );
        for (map_name, map) in new_maps(points.view(), arguments.maps.max(1), common)? {
            report.add(
                &format!("{name}, {map_name}"),
                score_map(map.view(), subject, scoring)?,
            );
        }
    }
    Ok(())
}

/// A short name of a store: its own, or its folder's where its own says nothing.
fn label(path: &Path) -> String {
    let name = |p: &Path| p.file_stem().map(|s| s.to_string_lossy().into_owned());
    match name(path) {
        Some(own) if own != "embeddings" => own,
        own => path
            .parent()
            .and_then(name)
            .or(own)
            .unwrap_or_else(|| path.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_stores() {
        assert_eq!(label(Path::new("out/one_channel.zarr")), "one_channel");
        assert_eq!(
            label(Path::new("out/inpainting/embeddings.zarr")),
            "inpainting"
        );
        assert_eq!(label(Path::new("embeddings.zarr")), "embeddings");
    }
}
