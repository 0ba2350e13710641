//! Small made-up data for the tests of the binaries.

use std::fs;
use std::path::{Path, PathBuf};

use cytoself_io::{OmeTiff, write_ome_tiff};
use ndarray::Array4;

/// Side of the fields, px.
const SIDE: usize = 200;
/// Flags of `preprocess` that fit these fields: nine nuclei of 24 px each, every one a crop.
pub const PREPROCESS: [&str; 5] = ["--crop-size", "40", "--downsample", "1", "--quiet"];

/// Where a field is and how its file is called.
#[must_use]
pub fn field_path(folder: &Path, field: usize) -> PathBuf {
    folder.join(format!("f{field}.ome.tif"))
}

/// Writes `count` fields of two slices and the manifest of them; proteins take turns.
///
/// # Panics
/// When the folder cannot be written.
#[must_use]
pub fn fields(folder: &Path, count: usize, proteins: usize) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder for the fields");
    let mut manifest = String::from("path,protein,fov,plate,channels\n");
    for field in 0..count {
        let protein = field % proteins;
        let path = field_path(folder, field);
        let stack = stack(field, protein);
        let about = OmeTiff::new(&["nuc", "pro"]).pixel_size_um(0.2);
        write_ome_tiff(&path, stack.view(), &about).expect("a field is written");
        manifest.push_str(&format!(
            "f{field}.ome.tif,P{protein},f{field},plate1,nuc;pro\n"
        ));
    }
    let path = folder.join("manifest.csv");
    fs::write(&path, manifest).expect("a manifest is written");
    path
}

/// `[c, z, y, x]`: nine nuclei, and around them a ring or spots of protein.
fn stack(field: usize, protein: usize) -> Array4<u16> {
    let period = SIDE / 3;
    Array4::from_shape_fn((2, 2, SIDE, SIDE), |(c, z, y, x)| {
        let middle = period as f32 / 2.0;
        let shift = (field % 5) as f32 - 2.0;
        let (dy, dx) = (
            (y % period) as f32 - middle,
            (x % period) as f32 - middle - shift,
        );
        let r = (dy * dy + dx * dx).sqrt();
        let noise = ((y * 7919 + x * 104_729 + (field * 31 + z) * 577) % 97) as f32;
        let level = match (c, protein % 2) {
            (0, _) => 9000.0 / (1.0 + (r - 12.0).exp()),
            (_, 0) => 6000.0 * (-(r - 15.0) * (r - 15.0) / 8.0).exp(),
            _ => {
                5000.0 * f32::from((y / 4 + x / 4 + protein).is_multiple_of(3))
                    / (1.0 + (r - 17.0).exp())
            }
        };
        (level + 500.0 + noise) as u16
    })
}

/// Makes a crop store of `count` fields with the binary; nine crops per field.
///
/// # Panics
/// When the binary fails.
#[must_use]
pub fn crops(folder: &Path, count: usize, proteins: usize) -> PathBuf {
    let manifest = fields(&folder.join("fields"), count, proteins);
    let out = folder.join("crops.zarr");
    preprocess(&manifest, &out, &[]).expect(0, &[]);
    out
}

/// Runs `preprocess` with [`PREPROCESS`] and further flags.
#[must_use]
pub fn preprocess(manifest: &Path, out: &Path, more: &[&str]) -> crate::Run {
    let (manifest, out) = (manifest.display().to_string(), out.display().to_string());
    let mut arguments = vec!["--manifest", &manifest, "--out", &out];
    arguments.extend(PREPROCESS);
    arguments.extend(more);
    crate::run("preprocess", arguments)
}

/// A configuration of a network that is trained in a moment; written into `folder`.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn train_flags(data: &Path, out: &Path, more: &[&str]) -> Vec<String> {
    let mut flags: Vec<String> = [
        "--data",
        &data.display().to_string(),
        "--out",
        &out.display().to_string(),
        "--preset",
        "torch-micro",
        "--channels",
        "pro,nucdist",
        "--batch-size",
        "8",
    ]
    .map(String::from)
    .to_vec();
    flags.extend(more.iter().map(ToString::to_string));
    flags
}

/// Names of everything in a folder, hidden ones too, sorted.
///
/// # Panics
/// When the folder cannot be read.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// Relative path and content of every file below a folder, sorted.
///
/// # Panics
/// When the folder cannot be read.
#[must_use]
pub fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(current) = open.pop() {
        for entry in fs::read_dir(&current).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below the folder");
                let bytes = fs::read(&path).expect("a file");
                found.push((name.display().to_string(), bytes));
            }
        }
    }
    found.sort();
    found
}
