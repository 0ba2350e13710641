//! The published files: `Image_dataNN.npy` with `Label_dataNN.csv`.

use std::fs;
use std::path::{Path, PathBuf};

use super::labels::{read_csv, with_our_columns};
use super::planes::Planes;
use crate::source::check_request;
use crate::{CropSource, CropTable, IoError, TextColumn, network_scale};

/// Crops in the layout of cytoself's published files, memory-mapped.
///
/// `Image_dataNN.npy` has the axes `(n, h, w, 4)`: protein, nucleus, distance to the nuclear boundary in px, mask of the nucleus; the
/// rows of `Label_dataNN.csv` describe its crops (the seven public columns, with or without a header).
#[derive(Debug)]
pub struct ImageDataFolder {
    table: CropTable,
    channels: Vec<String>,
    crop: [usize; 2],
    files: Vec<(usize, Vec<Planes>)>,
}

impl ImageDataFolder {
    /// Opens the folder at `path`.
    ///
    /// # Errors
    /// - an image file has no label file, or another number of rows;
    /// - image files differ in the size of crops or the number of channels.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let mut table = CropTable::new();
        let mut files: Vec<(usize, Vec<Planes>)> = Vec::new();
        let mut crop = None;
        for (number, file) in list(path)? {
            let planes = Planes::open(&file)?;
            let [n, h, w] = planes[0].shape();
            let expected = *crop.get_or_insert([h, w, planes.len()]);
            if expected != [h, w, planes.len()] {
                let found = format!("{:?}", [h, w, planes.len()]);
                return Err(IoError::malformed(
                    &file,
                    "npy header",
                    format!("crops of shape {expected:?}"),
                    found,
                    "",
                ));
            }
            files.push((table.len(), planes));
            table.concat(&labels(path, &number, n)?)?;
        }
        let Some([h, w, count]) = crop else {
            return Err(IoError::missing(path, "a file Image_dataNN.npy", ""));
        };
        let known = ["pro", "nuc", "nucdist", "nucmask"];
        let channels = (0..count)
            .map(|c| {
                known
                    .get(c)
                    .map_or_else(|| format!("channel{c}"), ToString::to_string)
            })
            .collect();
        Ok(Self {
            table,
            channels,
            crop: [h, w],
            files,
        })
    }
}

/// Numbers and paths of the image files, sorted by number.
fn list(path: &Path) -> Result<Vec<(String, PathBuf)>, IoError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| IoError::file(path, e))? {
        let file = entry.map_err(|e| IoError::file(path, e))?.path();
        let name = file
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if let Some(number) = name
            .strip_prefix("Image_data")
            .and_then(|n| n.strip_suffix(".npy"))
        {
            files.push((number.to_string(), file));
        }
    }
    files.sort_by_key(|(number, _)| (number.len(), number.clone()));
    Ok(files)
}

fn labels(path: &Path, number: &str, rows: usize) -> Result<CropTable, IoError> {
    let file = path.join(format!("Label_data{number}.csv"));
    let labels = read_csv(&file)?;
    if labels.len() != rows {
        return Err(IoError::malformed(
            &file,
            "rows",
            format!("{rows}, one per crop"),
            labels.len(),
            "",
        ));
    }
    let mut table = with_our_columns(&file, &labels)?;
    table.insert(
        "crop",
        TextColumn::from_texts((0..rows).map(|i| format!("{number}:{i}")))?,
    )?;
    Ok(table)
}

impl ImageDataFolder {
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
            let file = self.files.partition_point(|(first, _)| *first <= row) - 1;
            let (first, planes) = &self.files[file];
            for (&channel, out) in channels.iter().zip(&mut out) {
                planes[channel].read(row - first, scale(channel), out)?;
            }
        }
        Ok(())
    }
}

impl CropSource for ImageDataFolder {
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
        self.read_scaled(
            rows,
            channels,
            |channel| network_scale(&self.channels[channel]),
            out,
        )
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
        let (first, planes) =
            &self.files[self.files.partition_point(|(first, _)| *first <= row) - 1];
        (planes[channel].path().to_path_buf(), row - first)
    }
}
