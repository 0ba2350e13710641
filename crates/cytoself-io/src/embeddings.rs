//! The embedding store: AnnData on Zarr, with quantised representations kept as codes.

mod expand;
mod frame;
mod layout;
mod merge;
mod reader;
mod update;
mod writer;

pub use expand::{count_codes, expand_codes};
pub use layout::EmbeddingLayout;
pub use merge::merge_embeddings;
pub use reader::EmbeddingStore;
pub use writer::{EmbeddingPart, EmbeddingStoreWriter};

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::path::Path;

    use ndarray::{Array2, array, s};

    use super::*;
    use crate::{CropTable, IoError};

    fn codes(n: usize) -> Array2<u16> {
        Array2::from_shape_fn((n, 8), |(i, j)| ((i * 5 + j * 3) % 4) as u16)
    }

    fn obs(rows: std::ops::Range<usize>) -> CropTable {
        let mut table = CropTable::new();
        for row in rows {
            let (crop, protein) = (format!("c{row}"), ["A", "B"][row % 2]);
            let y = if row == 1 { f64::NAN } else { row as f64 };
            table
                .push(&[
                    ("crop", crop.as_str().into()),
                    ("protein", protein.into()),
                    ("y", y.into()),
                    ("ok", (row % 3 == 0).into()),
                ])
                .unwrap();
        }
        table
    }

    fn write(
        path: &Path,
        rows: impl Iterator<Item = std::ops::Range<usize>>,
    ) -> Result<usize, IoError> {
        let codebook = array![[0.0_f32, 0.5], [1.0, 1.5], [2.0, 2.5], [3.0, 3.5]];
        let layout = EmbeddingLayout::new()
            .indices(2, [2, 2, 2], codebook)
            .counts("vqindhist2", 4)
            .dense("X", 3)
            .made("seed", 42);
        let mut writer = EmbeddingStoreWriter::create(path, &layout)?;
        for range in rows {
            let codes = codes(range.end).slice(s![range.clone(), ..]).to_owned();
            let x = Array2::from_shape_fn((range.len(), 3), |(i, j)| {
                ((range.start + i) * 10 + j) as f32
            });
            let counts = count_codes(codes.view(), 4)?;
            writer.append(
                &obs(range),
                &[
                    ("X", EmbeddingPart::F32(x.view())),
                    ("vqind2", EmbeddingPart::U16(codes.view())),
                    ("vqindhist2", EmbeddingPart::U16(counts.view())),
                ],
            )?;
        }
        writer.finish()
    }

    #[test]
    fn everything_reads_back_and_vectors_are_expanded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.zarr");
        assert_eq!(write(&path, [0..3, 3..10].into_iter()).unwrap(), 10);
        let store = EmbeddingStore::open(&path).unwrap();
        let (found, expected) = (store.obs(), obs(0..10));
        assert_eq!(
            found.columns().collect::<Vec<_>>(),
            ["crop", "protein", "y", "ok"]
        );
        assert_eq!(found.text("crop"), expected.text("crop"));
        assert_eq!(found.text("protein"), expected.text("protein"));
        assert!(found.number("y").unwrap()[1].is_nan());
        assert_eq!(found.flag("ok"), expected.flag("ok"));
        assert_eq!(store.indices("vqind2").unwrap(), codes(10));
        assert_eq!(store.dense("X").unwrap()[[9, 2]], 92.0);
        assert_eq!(store.dense_rows("vqindhist2", 2..4).unwrap().sum(), 16.0);
        let vectors = store.dense("vqvec2").unwrap();
        assert_eq!(vectors.dim(), (10, 16));
        // Channel, y, x: the second chunk of two channels comes from the second half of the codes.
        let code = |i: usize, j: usize| f32::from(codes(10)[[i, j]]);
        assert_eq!(vectors[[7, 3]], code(7, 3));
        assert_eq!(vectors[[7, 4 + 3]], code(7, 3) + 0.5);
        assert_eq!(vectors[[7, 8 + 1]], code(7, 4 + 1));
        let error = store.dense("vqvec1").unwrap_err().to_string();
        assert!(error.contains("vqind2"), "{error}");
        assert!(store.indices_rows("vqind2", 5..11).is_err());
    }

    #[test]
    fn results_are_added_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.zarr");
        write(&path, std::iter::once(0..10)).unwrap();
        let mut store = EmbeddingStore::open(&path).unwrap();
        let umap = Array2::from_shape_fn((10, 2), |(i, j)| (i + j) as f32);
        store.put_obsm("X_umap", umap.view()).unwrap();
        store.put_obsm("X_umap", (&umap * 2.0).view()).unwrap();
        store.put_obs("cluster", vec![0.0; 10]).unwrap();
        store.put_obs("cluster", vec![1.0; 10]).unwrap();
        let store = EmbeddingStore::open(&path).unwrap();
        assert_eq!(store.dense("X_umap").unwrap(), &umap * 2.0);
        assert_eq!(store.obs().number("cluster").unwrap(), [1.0; 10]);
        assert!(
            EmbeddingStore::open(&path)
                .unwrap()
                .put_obsm("a", umap.slice(s![..3, ..]))
                .is_err()
        );
    }

    #[test]
    fn a_merge_does_not_depend_on_the_shards() {
        let dir = tempfile::tempdir().unwrap();
        let mut merged = Vec::new();
        for shards in [1, 2, 7] {
            let mut inputs = Vec::new();
            for shard in 0..shards {
                let path = dir.path().join(format!("{shards}-{shard}"));
                write(
                    &path,
                    (0..40).filter(|r| r % shards == shard).map(|r| r..r + 1),
                )
                .unwrap();
                inputs.insert(0, path);
            }
            let path = dir.path().join(format!("merged-{shards}"));
            assert_eq!(
                merge_embeddings(&inputs, &path, &mut |_, _| ControlFlow::Continue(())).unwrap(),
                40
            );
            let files = [
                "zarr.json",
                "obs/crop/c/0",
                "obs/protein/codes/c/0",
                "X/c/0/0",
                "obsm/vqind2/c/0/0",
                "uns/codebook2/c/0/0",
            ];
            merged.push(files.map(|f| std::fs::read(path.join(f)).unwrap()));
        }
        assert_eq!(merged[0], merged[1]);
        assert_eq!(merged[0], merged[2]);
        let store = EmbeddingStore::open(&dir.path().join("merged-7")).unwrap();
        assert_eq!(store.obs().text("crop").unwrap().get(10), "c10");
        assert_eq!(store.dense("X").unwrap()[[39, 0]], 390.0);
    }
}
