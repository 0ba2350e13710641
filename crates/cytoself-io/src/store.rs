//! The crop store: crops as a sharded Zarr array beside their table.

mod format;
mod merge;
mod reader;
mod writer;

pub use format::{CropLayout, PixelType};
pub use merge::merge_crop_stores;
pub use reader::CropStore;
pub use writer::CropStoreWriter;

#[cfg(test)]
mod tests {
    use ndarray::{Array4, s};

    use super::*;
    use crate::{CropSource, CropTable, open_crops};

    fn images(n: usize) -> Array4<f32> {
        Array4::from_shape_fn((n, 2, 5, 7), |(i, c, y, x)| {
            let v = ((i * 31 + y * 7 + x) % 97) as f32 / 96.0;
            if c == 0 { v } else { v * 100.0 - 60.0 }
        })
    }

    fn table(rows: std::ops::Range<usize>) -> CropTable {
        let mut table = CropTable::new();
        for row in rows {
            let crop = format!("f{}:{row}", row % 3);
            table
                .push(&[
                    ("crop", crop.as_str().into()),
                    ("protein", "A".into()),
                    ("y", (row as f64).into()),
                ])
                .unwrap();
        }
        table
    }

    fn write(path: &std::path::Path, pixels: PixelType, n: usize, block: usize) {
        let layout = CropLayout::new(&["pro", "nucdist"], [5, 7])
            .pixels(pixels)
            .made("seed", 42);
        let mut writer = CropStoreWriter::create(path, &layout).unwrap();
        let all = images(n);
        for start in (0..n).step_by(block) {
            let end = n.min(start + block);
            writer
                .append(all.slice(s![start..end, .., .., ..]), &table(start..end))
                .unwrap();
        }
        assert_eq!(writer.finish().unwrap(), n);
    }

    #[test]
    fn crops_survive_within_the_step_of_their_type() {
        let dir = tempfile::tempdir().unwrap();
        for (pixels, steps) in [
            (PixelType::F32, [0.0, 0.0]),
            (PixelType::U16, [0.51 / 65535.0, 0.51 / 64.0]),
        ] {
            let path = dir.path().join(format!("{pixels:?}.zarr"));
            write(&path, pixels, 300, 77);
            let store = open_crops(&path).unwrap();
            assert_eq!((store.len(), store.crop_shape()), (300, [5, 7]));
            assert_eq!(store.table(), &table(0..300));
            let mut out = vec![0.0; 3 * 2 * 35];
            store.read_into(&[299, 0, 0], &[1, 0], &mut out).unwrap();
            let all = images(300);
            for (k, &row) in [299, 0, 0].iter().enumerate() {
                for (j, &channel) in [1, 0].iter().enumerate() {
                    let scale = if channel == 1 { 0.01 } else { 1.0 };
                    for (i, expected) in all.slice(s![row, channel, .., ..]).iter().enumerate() {
                        let found = out[(k * 2 + j) * 35 + i];
                        assert!(
                            (found - expected * scale).abs() <= steps[channel] * scale + 1e-6,
                            "{found} {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_do_not_depend_on_blocks_or_threads() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        write(&a, PixelType::U16, 600, 600);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        pool.install(|| write(&b, PixelType::U16, 600, 7));
        for file in [
            "zarr.json",
            "table.csv",
            "images/zarr.json",
            "images/c/0/0/0/0",
            "images/c/1/0/0/0",
        ] {
            assert_eq!(
                std::fs::read(a.join(file)).unwrap(),
                std::fs::read(b.join(file)).unwrap(),
                "{file}"
            );
        }
    }

    #[test]
    fn another_version_and_damage_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, PixelType::F32, 3, 3);
        let root = path.join("zarr.json");
        let text = std::fs::read_to_string(&root).unwrap();
        std::fs::write(
            &root,
            text.replace("\"format_version\": 1", "\"format_version\": 9"),
        )
        .unwrap();
        let error = CropStore::open(&path).err().unwrap().to_string();
        assert!(
            error.contains("crop store version 9") && error.contains("reads version 1"),
            "{error}"
        );
        std::fs::write(&root, &text).unwrap();
        let shard = path.join("images/c/0/0/0/0");
        let bytes = std::fs::read(&shard).unwrap();
        std::fs::write(&shard, &bytes[..bytes.len() - 5]).unwrap();
        let store = CropStore::open(&path).unwrap();
        let error = store
            .read_into(&[0], &[0], &mut [0.0; 35])
            .unwrap_err()
            .to_string();
        assert!(error.contains("/images"), "{error}");
        std::fs::write(path.join("table.csv"), "crop\na\n").unwrap();
        assert!(
            CropStore::open(&path)
                .err()
                .unwrap()
                .to_string()
                .contains("3 rows")
        );
    }

    #[test]
    fn a_merge_does_not_depend_on_the_shards() {
        let dir = tempfile::tempdir().unwrap();
        let all = images(30);
        let mut merged = Vec::new();
        for shards in [1, 2, 7] {
            let layout = CropLayout::new(&["pro", "nucdist"], [5, 7])
                .pixels(PixelType::U16)
                .made("seed", 42);
            let mut inputs = Vec::new();
            for shard in (0..shards).rev() {
                let path = dir.path().join(format!("{shards}-{shard}"));
                let mut writer = CropStoreWriter::create(&path, &layout).unwrap();
                for row in (0..30).filter(|r| r % shards == shard) {
                    writer
                        .append(all.slice(s![row..=row, .., .., ..]), &table(row..row + 1))
                        .unwrap();
                }
                writer.finish().unwrap();
                inputs.push(path);
            }
            let path = dir.path().join(format!("merged-{shards}"));
            merge_crop_stores(&inputs, &path, &mut |_, _| {
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
            let bytes: Vec<Vec<u8>> = [
                "zarr.json",
                "table.csv",
                "images/zarr.json",
                "images/c/0/0/0/0",
            ]
            .iter()
            .map(|f| std::fs::read(path.join(f)).unwrap())
            .collect();
            merged.push(bytes);
        }
        assert_eq!(merged[0], merged[1]);
        assert_eq!(merged[0], merged[2]);
        let names = CropStore::open(&dir.path().join("merged-2")).unwrap();
        let names: Vec<&str> = names.table().text("crop").unwrap().iter().collect();
        assert_eq!(names[..5], ["f0:0", "f0:3", "f0:6", "f0:9", "f0:12"]);
    }

    #[test]
    fn values_that_do_not_fit_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let layout = CropLayout::new(&["pro", "nucdist"], [5, 7]).pixels(PixelType::U16);
        let mut writer = CropStoreWriter::create(&dir.path().join("a"), &layout).unwrap();
        let mut bad = images(2);
        bad[[1, 0, 2, 3]] = 1.5;
        let error = writer
            .append(bad.view(), &table(0..2))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("crop f1:1") && error.contains("channel pro") && error.contains("1.5"),
            "{error}"
        );
        assert!(writer.append(images(2).view(), &table(0..3)).is_err());
        writer.append(images(2).view(), &table(0..2)).unwrap();
        writer.append(images(1).view(), &table(0..1)).unwrap();
        assert!(
            writer
                .finish()
                .unwrap_err()
                .to_string()
                .contains("f0:0 twice")
        );
    }
}
