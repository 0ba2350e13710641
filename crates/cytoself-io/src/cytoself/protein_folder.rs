//! A folder of per-protein arrays: `<protein>_pro.npy`, `<protein>_nuc.npy`, ..., `<protein>_label.npy`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::labels::{column_names, read_csv, with_our_columns};
use super::planes::Planes;
use crate::source::check_request;
use crate::{CropSource, CropTable, IoError, TextColumn, network_scale, npy};

/// Channels in the order in which cytoself lists them; others follow alphabetically.
const KNOWN: [&str; 3] = ["pro", "nuc", "nucdist"];

/// Crops in cytoself's per-protein layout, memory-mapped.
///
/// Every file `<protein>_<channel>.npy` with axes `(n, h, w)` or `(n, h, w, c)` is a channel of a protein (of several, named
/// `channel.0`, `channel.1`, ..., if there is a fourth axis). Labels come from a `labels.csv` in the folder (the seven public columns,
/// rows in file order within each protein, optionally an `index`), else from `<protein>_label.npy`, else from the file names.
/// Proteins are in alphabetical order, crops within a protein in file order.
#[derive(Debug)]
pub struct ProteinFolder {
    table: CropTable,
    channels: Vec<String>,
    scales: Vec<f32>,
    crop: [usize; 2],
    proteins: Vec<Protein>,
}

#[derive(Debug)]
struct Protein {
    first_row: usize,
    planes: Vec<Planes>,
}

impl ProteinFolder {
    /// Opens the folder at `path`.
    ///
    /// # Errors
    /// - a protein lacks a channel that another one has;
    /// - arrays of a protein differ in length, or crops differ in size;
    /// - the labels of a protein are more or fewer than its crops.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let files = list(path)?;
        let names = channel_order(&files);
        let mut channels: Vec<String> = Vec::new();
        let (mut crop, mut rows) = (None, 0);
        let mut proteins = Vec::new();
        let mut counts = Vec::new();
        for (name, by_channel) in &files {
            let (planes, channel_names) = open_channels(path, name, by_channel, &names)?;
            let Some(first) = planes.first() else {
                continue;
            };
            let [n, h, w] = first.shape();
            let crop = *crop.get_or_insert([h, w]);
            for plane in &planes {
                if plane.shape() != [n, crop[0], crop[1]] {
                    let expected = format!("{n} crops of {} x {} px", crop[0], crop[1]);
                    let found = format!("shape {:?}", plane.shape());
                    return Err(IoError::malformed(
                        plane.path(),
                        "npy header",
                        expected,
                        found,
                        "",
                    ));
                }
            }
            if channels.is_empty() {
                channels = channel_names;
            } else if channels != channel_names {
                let (expected, found) = (channels.join(", "), channel_names.join(", "));
                return Err(IoError::malformed(
                    first.path(),
                    format!("channels of {name}"),
                    expected,
                    found,
                    "",
                ));
            }
            proteins.push(Protein {
                first_row: rows,
                planes,
            });
            counts.push((name.as_str(), n));
            rows += n;
        }
        let crop =
            crop.ok_or_else(|| IoError::missing(path, "a file <protein>_<channel>.npy", ""))?;
        let table = read_labels(path, &counts, &files)?;
        let scales = channels.iter().map(|c| network_scale(c)).collect();
        Ok(Self {
            table,
            channels,
            scales,
            crop,
            proteins,
        })
    }
}

impl ProteinFolder {
    fn read_scaled(
        &self,
        rows: &[usize],
        channels: &[usize],
        scale: impl Fn(usize) -> f32,
        out: &mut [f32],
    ) -> Result<(), IoError> {
        let pixels = check_request(self, rows, channels, out)?;
        let mut out = out.chunks_exact_mut(pixels);
        for &row in rows {
            let protein = self.proteins.partition_point(|p| p.first_row <= row) - 1;
            let Protein { first_row, planes } = &self.proteins[protein];
            for (&channel, out) in channels.iter().zip(&mut out) {
                planes[channel].read(row - first_row, scale(channel), out)?;
            }
        }
        Ok(())
    }
}

impl CropSource for ProteinFolder {
    fn table(&self) -> &CropTable {
        &self.table
    }

    fn channels(&self) -> &[String] {
        &self.channels
    }

    fn crop_shape(&self) -> [usize; 2] {
        self.crop
    }

    fn read_into(
        &self,
        rows: &[usize],
        channels: &[usize],
        out: &mut [f32],
    ) -> Result<(), IoError> {
        self.read_scaled(rows, channels, |channel| self.scales[channel], out)
    }

    fn read_stored_into(
        &self,
        rows: &[usize],
        channels: &[usize],
        out: &mut [f32],
    ) -> Result<(), IoError> {
        self.read_scaled(rows, channels, |_| 1.0, out)
    }

    fn place(&self, row: usize, channel: usize) -> (PathBuf, usize) {
        let protein = &self.proteins[self.proteins.partition_point(|p| p.first_row <= row) - 1];
        (
            protein.planes[channel].path().to_path_buf(),
            row - protein.first_row,
        )
    }
}

type Files = BTreeMap<String, BTreeMap<String, PathBuf>>;

/// Protein -> channel or `label` -> file.
fn list(path: &Path) -> Result<Files, IoError> {
    let mut files = Files::new();
    for entry in fs::read_dir(path).map_err(|e| IoError::file(path, e))? {
        let file = entry.map_err(|e| IoError::file(path, e))?.path();
        let Some(stem) = file
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_suffix(".npy"))
        else {
            continue;
        };
        // The suffix is the text after the last underscore: protein names may hold underscores.
        if let Some((protein, channel)) = stem.rsplit_once('_') {
            files
                .entry(protein.to_string())
                .or_default()
                .insert(channel.to_string(), file);
        }
    }
    Ok(files)
}

fn channel_order(files: &Files) -> Vec<String> {
    let present: BTreeSet<&str> = files
        .values()
        .flat_map(|f| f.keys().map(String::as_str))
        .filter(|&c| c != "label")
        .collect();
    let known = KNOWN.into_iter().filter(|c| present.contains(c));
    known
        .chain(present.iter().copied().filter(|c| !KNOWN.contains(c)))
        .map(str::to_string)
        .collect()
}

fn open_channels(
    folder: &Path,
    protein: &str,
    files: &BTreeMap<String, PathBuf>,
    names: &[String],
) -> Result<(Vec<Planes>, Vec<String>), IoError> {
    let (mut planes, mut channels) = (Vec::new(), Vec::new());
    for name in names {
        let file = files.get(name).ok_or_else(|| {
            let hint = "every protein needs the same channels; move the other files away";
            IoError::missing(folder, format!("{protein}_{name}.npy"), hint)
        })?;
        let opened = Planes::open(file)?;
        for index in 0..opened.len() {
            channels.push(if opened.len() == 1 {
                name.clone()
            } else {
                format!("{name}.{index}")
            });
        }
        planes.extend(opened);
    }
    Ok((planes, channels))
}

fn read_labels(path: &Path, counts: &[(&str, usize)], files: &Files) -> Result<CropTable, IoError> {
    let sidecar = path.join("labels.csv");
    let mut table = if sidecar.is_file() {
        from_sidecar(&sidecar, counts)?
    } else {
        let mut table = CropTable::new();
        for &(protein, n) in counts {
            let file = files.get(protein).and_then(|f| f.get("label"));
            table.concat(&file.map_or_else(|| from_name(protein, n), |f| from_array(f, n))?)?;
        }
        table
    };
    let crops = counts
        .iter()
        .flat_map(|&(protein, n)| (0..n).map(move |i| format!("{protein}:{i}")));
    table.insert("crop", TextColumn::from_texts(crops)?)?;
    Ok(table)
}

fn from_name(protein: &str, rows: usize) -> Result<CropTable, IoError> {
    let mut table = CropTable::new();
    table.insert("protein", TextColumn::repeat(protein, rows))?;
    Ok(table)
}

fn from_array(path: &Path, rows: usize) -> Result<CropTable, IoError> {
    let texts = npy::read_text(path)?;
    if texts.nrows() != rows {
        return Err(IoError::malformed(
            path,
            "npy header",
            format!("{rows} rows, one per crop"),
            texts.nrows(),
            "",
        ));
    }
    let mut labels = CropTable::new();
    for (name, column) in column_names(path, texts.ncols())?
        .iter()
        .zip(texts.columns())
    {
        labels.insert(name, TextColumn::from_texts(column)?)?;
    }
    with_our_columns(path, &labels)
}

/// The rows of `labels.csv` in the order of our crops.
fn from_sidecar(path: &Path, counts: &[(&str, usize)]) -> Result<CropTable, IoError> {
    let labels = with_our_columns(path, &read_csv(path)?)?;
    let keys = ["protein", "protein_id", "ensg"]
        .iter()
        .filter_map(|k| labels.text(k));
    let key = keys.into_iter().find(|k| {
        counts
            .iter()
            .all(|(protein, _)| k.code_of(protein).is_some())
    });
    let Some(key) = key else {
        let names = counts
            .iter()
            .take(5)
            .map(|(p, _)| *p)
            .collect::<Vec<_>>()
            .join(", ");
        let expected = format!("each protein of the file names ({names}, ...) in the column name");
        return Err(IoError::malformed(
            path,
            "column name",
            expected,
            "not all of them",
            "",
        ));
    };
    let mut by_code: Vec<Vec<usize>> = vec![Vec::new(); key.category_count()];
    for (row, &code) in key.codes().iter().enumerate() {
        by_code[code as usize].push(row);
    }
    let mut order = Vec::with_capacity(labels.len());
    for &(protein, n) in counts {
        let rows = key
            .code_of(protein)
            .map_or(&[][..], |code| &by_code[code as usize][..]);
        if rows.len() != n {
            let place = format!("rows of {protein}");
            return Err(IoError::malformed(
                path,
                place,
                format!("{n}, one per crop"),
                rows.len(),
                "",
            ));
        }
        order.extend(by_index(path, &labels, protein, rows)?);
    }
    let mut table = labels.select(&order)?;
    table.remove("index");
    Ok(table)
}

/// The rows of one protein sorted by the column `index`, which must then count from 0; file order without it.
fn by_index(
    path: &Path,
    labels: &CropTable,
    protein: &str,
    rows: &[usize],
) -> Result<Vec<usize>, IoError> {
    let Some(index) = labels.text("index") else {
        return Ok(rows.to_vec());
    };
    let mut sorted = vec![None; rows.len()];
    for &row in rows {
        let text = index.get(row);
        let slot = text
            .parse::<usize>()
            .ok()
            .and_then(|i| sorted.get_mut(i))
            .filter(|s| s.is_none());
        let slot = slot.ok_or_else(|| {
            let expected = format!("each of 0..{} once for {protein}", rows.len());
            IoError::malformed(path, format!("row {row}, column index"), expected, text, "")
        })?;
        *slot = Some(row);
    }
    Ok(sorted.into_iter().flatten().collect())
}
