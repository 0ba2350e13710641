//! Interaction against encoding: how alike proteins are that are known to belong together, beside all others.

use std::collections::BTreeMap;
use std::path::Path;

use cytoself_eval::{PairRecovery, average_precision, cosine_similarities};
use cytoself_io::{CropTable, EmbeddingStore, Groups, TextColumn};
use ndarray::{Array2, Axis};
use serde_json::{Value, json};

use super::column;
use crate::cli::Failure;
use crate::plot::{self, Histograms};

/// Rows read at once.
const BLOCK: usize = 4096;
/// Share of all pairs on either side that counts as recalled (EFAAR).
const TAIL: f64 = 0.05;
/// Random rankings behind each p-value.
const NULL: usize = 1000;

/// Names of the columns of a table of pairs.
const COLUMNS: [[&str; 2]; 4] = [
    ["protein_1", "protein_2"],
    ["prot_1", "prot_2"],
    ["protein_a", "protein_b"],
    ["target_name", "interactor"],
];

/// Mean encoding of every protein and how alike they are.
pub(super) struct Encodings {
    proteins: Vec<String>,
    similarity: Array2<f64>,
}

impl Encodings {
    /// Means over `rows`, the mean of all proteins taken off, compared by cosine.
    pub(super) fn of(
        store: &EmbeddingStore,
        representation: &str,
        rows: &[usize],
    ) -> Result<Self, Failure> {
        let names = column(store.obs(), "protein")?;
        let (means, kept) = means(store, representation, rows, names)?;
        let centre = means.mean_axis(Axis(0)).unwrap_or_default();
        let similarity = cosine_similarities((&means - &centre).view())?;
        let categories: Vec<&str> = names.categories().collect();
        Ok(Self {
            proteins: kept.iter().map(|&p| categories[p].to_string()).collect(),
            similarity,
        })
    }

    /// Recovery of known pairs, and the picture of their similarities.
    pub(super) fn judge(
        &self,
        known: &[(usize, usize)],
        folder: &Path,
        name: &str,
    ) -> Result<Value, Failure> {
        let found = PairRecovery::of(self.similarity.view(), known, TAIL)
            .map_err(|e| Failure::from(e).context(name))?;
        let [mut together, mut others] = self.similarities(known);
        let medians = [&mut together, &mut others].map(|v| median(v));
        let title = format!(
            "{name}: similarity of mean encodings, AUROC {:.3}",
            found.auroc
        );
        let picture = Histograms::new(title, "cosine similarity", -1.0..1.0)
            .add(format!("known pairs ({})", together.len()), &together)
            .add(format!("other pairs ({})", others.len()), &others);
        for ending in ["png", "svg"] {
            plot::save(&picture, &folder.join(format!("{name}.{ending}")))?;
        }
        Ok(json!({
            "proteins": self.proteins.len(),
            "known_pairs": found.known,
            "pairs": found.pairs,
            "recall": found.recall,
            "auroc": found.auroc,
            "average_precision": found.average_precision,
            "median_similarity_known": medians[0],
            "median_similarity_others": medians[1],
        }))
    }

    /// As [`Encodings::judge`] for the members of groups, with the mean average precision of finding fellows.
    pub(super) fn judge_groups(&self, groups: &Groups, folder: &Path) -> Result<Value, Failure> {
        let mut index: BTreeMap<&str, usize> = BTreeMap::new();
        let of: Vec<Option<usize>> = self
            .proteins
            .iter()
            .map(|p| {
                let next = index.len();
                groups.group(p).map(|g| *index.entry(g).or_insert(next))
            })
            .collect();
        let n = of.len();
        let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
        let known: Vec<(usize, usize)> = pairs
            .filter(|&(i, j)| of[i].is_some() && of[i] == of[j])
            .collect();
        let mut value = self.judge(&known, folder, "complexes")?;
        let found = average_precision(self.similarity.view(), &of, NULL, 42)?;
        let mean =
            found.iter().map(|r| r.average_precision).sum::<f64>() / found.len().max(1) as f64;
        value["mean_average_precision"] = json!(mean);
        value["subunits"] = json!(found.len());
        value["subunits_found"] = json!(found.iter().filter(|r| r.q_value < 0.05).count());
        Ok(value)
    }

    /// The pairs of a table whose proteins are both here.
    pub(super) fn read_pairs(&self, path: &Path) -> Result<Vec<(usize, usize)>, Failure> {
        let table = CropTable::from_csv(path)?;
        let [a, b] = pair_columns(&table).ok_or_else(|| {
            let columns = table.columns().collect::<Vec<_>>().join(", ");
            Failure::input(format!(
                "{}: expected the columns protein_1,protein_2, found {columns}",
                path.display()
            ))
        })?;
        let place = |name: &str| self.proteins.iter().position(|p| p == name);
        Ok((0..table.len())
            .filter_map(|row| Some((place(a.get(row))?, place(b.get(row))?)))
            .collect())
    }

    fn similarities(&self, known: &[(usize, usize)]) -> [Vec<f64>; 2] {
        let known: std::collections::BTreeSet<(usize, usize)> =
            known.iter().map(|&(i, j)| (i.min(j), i.max(j))).collect();
        let mut found: [Vec<f64>; 2] = Default::default();
        for i in 0..self.proteins.len() {
            for j in i + 1..self.proteins.len() {
                found[usize::from(!known.contains(&(i, j)))].push(self.similarity[[i, j]]);
            }
        }
        found
    }
}

fn pair_columns(table: &CropTable) -> Option<[&TextColumn; 2]> {
    COLUMNS
        .iter()
        .find_map(|[a, b]| Some([table.text(a)?, table.text(b)?]))
}

/// Mean of `rows` by protein, read block by block, and the proteins that have any.
fn means(
    store: &EmbeddingStore,
    representation: &str,
    rows: &[usize],
    proteins: &TextColumn,
) -> Result<(Array2<f64>, Vec<usize>), Failure> {
    let count = proteins.categories().count();
    let mut sums = Array2::<f64>::zeros((count, store.width(representation)?));
    let mut crops = vec![0_usize; count];
    let mut rows = rows.to_vec();
    rows.sort_unstable();
    for block in rows.chunk_by(|a, b| a / BLOCK == b / BLOCK) {
        let (first, last) = (block[0], block[block.len() - 1]);
        let values = store.dense_rows(representation, first..last + 1)?;
        for &row in block {
            let protein = proteins.codes()[row] as usize;
            crops[protein] += 1;
            let mut sum = sums.row_mut(protein);
            sum.zip_mut_with(&values.row(row - first), |s, v| *s += f64::from(*v));
        }
    }
    let kept: Vec<usize> = (0..count).filter(|&p| crops[p] > 0).collect();
    let mut means = sums.select(Axis(0), &kept);
    for (mut mean, &protein) in means.outer_iter_mut().zip(&kept) {
        mean /= crops[protein] as f64;
    }
    Ok((means, kept))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::fixture;

    #[test]
    fn proteins_of_one_localisation_are_alike() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.zarr");
        fixture::write_store(&path);
        let store = EmbeddingStore::open(&path).unwrap();
        let rows: Vec<usize> = (0..store.len()).collect();
        let encodings = Encodings::of(&store, "vqvec2", &rows).unwrap();
        let table = dir.path().join("pairs.csv");
        std::fs::write(
            &table,
            ",prot_1,prot_2\n0,P0,P1\n1,P2,P3\n2,P4,P5\n3,P4,X\n",
        )
        .unwrap();
        let known = encodings.read_pairs(&table).unwrap();
        assert_eq!(known.len(), 3);
        let found = encodings.judge(&known, dir.path(), "interactions").unwrap();
        assert_eq!(
            (found["known_pairs"].as_u64(), found["pairs"].as_u64()),
            (Some(3), Some(15))
        );
        assert!(found["auroc"].as_f64().unwrap() > 0.95, "{found}");
        assert!(dir.path().join("interactions.svg").is_file());
        let mut groups = Groups::default();
        for (protein, group) in [("P0", "x"), ("P1", "x"), ("P2", "y"), ("P3", "y")] {
            groups.insert(protein, group).unwrap();
        }
        let found = encodings.judge_groups(&groups, dir.path()).unwrap();
        assert!(
            found["mean_average_precision"].as_f64().unwrap() > 0.7,
            "{found}"
        );
        std::fs::write(&table, "x,y\nA,B\n").unwrap();
        assert!(encodings.read_pairs(&table).is_err());
    }
}
