//! The embedding store as Python's AnnData sees it, and TIFF as tifffile writes it.
//!
//! Runs where `CYTOSELF_PYTHON` names an interpreter with anndata 0.12 or later, tifffile and imagecodecs.

use std::path::{Path, PathBuf};
use std::process::Command;

use cytoself_io::{
    CropTable, EmbeddingLayout, EmbeddingPart, EmbeddingStore, EmbeddingStoreWriter, OmeTiff,
    TiffStack, write_ome_tiff,
};
use ndarray::{Array2, Array4, array};

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("CYTOSELF_PYTHON").map(PathBuf::from);
    if python.is_none() {
        println!("skipped: CYTOSELF_PYTHON is not set");
    }
    python
}

fn run(python: &Path, script: &str, argument: &Path) -> String {
    let output = Command::new(python)
        .args(["-W", "ignore", "-c", script])
        .arg(argument)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn anndata_reads_and_rewrites_the_store() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.zarr");
    let codebook = array![[0.0_f32, 0.5], [1.0, 1.5], [2.0, 2.5]];
    let layout = EmbeddingLayout::new()
        .indices(2, [2, 1, 2], codebook)
        .dense("X_umap", 2)
        .made("seed", 42);
    let mut writer = EmbeddingStoreWriter::create(&path, &layout).unwrap();
    for block in 0..3 {
        let mut rows = CropTable::new();
        for row in block * 1000..(block + 1) * 1000 {
            let (crop, protein) = (format!("c{row}"), ["ATL2", "\u{b5}"][row % 2]);
            rows.push(&[
                ("crop", crop.as_str().into()),
                ("protein", protein.into()),
                ("y", (row as f64).into()),
                ("ok", (row == 7).into()),
            ])
            .unwrap();
        }
        let codes = Array2::from_shape_fn((1000, 4), |(i, j)| ((block * 1000 + i + j) % 3) as u16);
        let umap = Array2::from_shape_fn((1000, 2), |(i, j)| {
            (block * 1000 + i) as f32 + j as f32 / 2.0
        });
        let arrays = [
            ("vqind2", EmbeddingPart::U16(codes.view())),
            ("X_umap", EmbeddingPart::F32(umap.view())),
        ];
        writer.append(&rows, &arrays).unwrap();
    }
    writer.finish().unwrap();
    let vectors = EmbeddingStore::open(&path)
        .unwrap()
        .dense("vqvec2")
        .unwrap();
    let script = r#"
import sys, json, anndata, numpy as np
path = sys.argv[1]
a = anndata.read_zarr(path)
split, h, w = a.uns["vqind2_shape"]
codes = a.obsm["vqind2"].reshape(-1, split, h, w)
vectors = a.uns["codebook2"][codes].transpose(0, 1, 4, 2, 3).reshape(len(a), -1)
anndata.settings.zarr_write_format = 3
a.write_zarr(path + ".again")
print(a.shape, a.obs["protein"].dtype, list(a.obs["protein"].cat.categories), a.obs.index[2999], a.obs["y"].iloc[2999],
      int(a.obs["ok"].sum()), a.obsm["vqind2"].dtype, float(a.obsm["X_umap"][2999, 1]), json.loads(a.uns["cytoself"]["made"])["seed"],
      float(vectors.sum()), float(vectors[1234, 5]))
"#;
    let text = run(&python, script, &path);
    let expected = format!(
        "(3000, 0) category ['ATL2', '\u{b5}'] c2999 2999.0 1 uint16 2999.5 42 {:?} {:?}\n",
        f64::from(vectors.sum()),
        f64::from(vectors[[1234, 5]])
    );
    assert_eq!(text, expected);
    let again = EmbeddingStore::open(&dir.path().join("e.zarr.again")).unwrap();
    assert_eq!(again.obs().text("protein").unwrap().get(1), "\u{b5}");
    assert_eq!(again.dense("vqvec2").unwrap(), vectors);
}

#[test]
fn tifffile_reads_what_is_written_and_writes_what_is_read() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ome.tif");
    let stack = Array4::from_shape_fn((2, 3, 50, 40), |(c, z, y, x)| {
        (c * 30_000 + z * 3000 + y * 50 + x) as u16
    });
    write_ome_tiff(
        &path,
        stack.view(),
        &OmeTiff::new(&["pro", "nuc"]).pixel_size_um(0.2),
    )
    .unwrap();
    let script = r#"
import sys, os, tifffile, numpy as np
path = sys.argv[1]
t = tifffile.TiffFile(path)
a = t.asarray()
print(t.is_ome, t.series[0].axes, a.shape, int(a.astype(np.uint64).sum()))
folder = os.path.dirname(path)
n = 0
for dtype in ("uint8", "uint16", "float32", "float64", "int16", "uint32", "float16"):
    b = (a / 1000).astype(dtype) if dtype != "uint16" else a
    for name, options in {
        "plain": {}, "big": dict(bigtiff=True), "motorola": dict(byteorder=">"), "tiled": dict(tile=(16, 32)),
        "lzw": dict(compression="lzw"), "deflate": dict(compression="zlib", predictor=True), "zstd": dict(compression="zstd", rowsperstrip=7),
        "packbits": dict(compression="packbits"), "tiledlzw": dict(compression="lzw", predictor=True, tile=(16, 16), byteorder=">"),
    }.items():
        if dtype == "float16" and options.get("predictor"): continue
        tifffile.imwrite(f"{folder}/{dtype}-{name}.ome.tif", b, ome=True, metadata={"axes": "CZYX", "Channel": {"Name": ["pro", "nuc"]}}, photometric="minisblack", **options)
        n += 1
ij = np.moveaxis(a, 0, 1)
tifffile.imwrite(f"{folder}/uint16-imagej.tif", ij, imagej=True, metadata={"axes": "ZCYX"})
tifffile.imwrite(f"{folder}/uint16-planar.tif", a[:, 0], planarconfig="separate", photometric="minisblack", metadata=None)
tifffile.imwrite(f"{folder}/uint16-contig.tif", np.moveaxis(a[:, 0], 0, 2), planarconfig="contig", photometric="minisblack", metadata=None, compression="zlib", predictor=True)
print(n)
"#;
    let text = run(&python, script, &path);
    let sum: u64 = stack.iter().map(|&v| u64::from(v)).sum();
    assert_eq!(text, format!("True CZYX (2, 3, 50, 40) {sum}\n61\n"));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let tiff = TiffStack::open(&path).unwrap_or_else(|e| panic!("{e}"));
        let slices = if name.ends_with("planar.tif") || name.ends_with("contig.tif") {
            1
        } else {
            3
        };
        assert_eq!(
            (tiff.channels().len(), tiff.slices(), tiff.shape()),
            (2, slices, [50, 40]),
            "{name}"
        );
        for (c, z) in [(0, 0), (1, slices - 1)] {
            let plane = tiff
                .read_plane(c, z, 0)
                .unwrap_or_else(|e| panic!("{e}"))
                .to_f32();
            for ((y, x), &found) in plane.indexed_iter() {
                let value = f32::from(stack[[c, z, y, x]]);
                let expected = match name.split('-').next().unwrap_or_default() {
                    "uint16" | "a.ome.tif" => value,
                    "float32" | "float64" | "float16" => value / 1000.0,
                    _ => (value / 1000.0).floor(),
                };
                let tolerance = if name.starts_with("float16") {
                    0.02
                } else {
                    1e-5
                };
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{name} ({c}, {z}, {y}, {x}): {found} {expected}"
                );
            }
        }
    }
}
