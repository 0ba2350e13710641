//! Reading a crop store.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use super::format::{Coding, CropLayout, FORMAT, PixelType, VERSION};
use super::writer::Stored;
use crate::source::check_request;
use crate::zarr::{Hierarchy, RowArray};
use crate::{CropSource, CropTable, IoError, network_scale};

/// Crops in a crop store, read on demand.
pub struct CropStore {
    path: PathBuf,
    layout: CropLayout,
    codings: Vec<Coding>,
    images: RowArray,
    table: CropTable,
}

impl CropStore {
    /// Opens the store in the folder `path`.
    ///
    /// # Errors
    /// - the folder is no crop store, or one of another version;
    /// - the table has another number of rows than there are crops.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let hierarchy = Hierarchy::open(path)?;
        let root = hierarchy.attributes("/")?;
        check_version(path, &root)?;
        let images = RowArray::open(&hierarchy, "/images")?;
        let (layout, codings) = CropLayout::read(
            path,
            &root,
            images.attributes(),
            images.shape(),
            &images.dtype(),
        )?;
        let table_path = path.join("table.csv");
        let table = CropTable::from_csv(&table_path)?;
        if table.len() != images.shape()[0] {
            let expected = format!("{} rows, one per crop", images.shape()[0]);
            return Err(IoError::malformed(
                &table_path,
                "rows",
                expected,
                table.len(),
                "",
            ));
        }
        Ok(Self {
            path: path.to_path_buf(),
            layout,
            codings,
            images,
            table,
        })
    }

    /// The layout, with how the crops were made.
    #[must_use]
    pub fn layout(&self) -> &CropLayout {
        &self.layout
    }

    /// Slices of each crop (z); 1 for flat crops.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.layout.slices
    }

    fn piece(&self, row: usize, channel: usize) -> Vec<std::ops::Range<usize>> {
        let tail = self.images.shape().iter().skip(2).map(|&s| 0..s);
        [row..row + 1, channel..channel + 1]
            .into_iter()
            .chain(tail)
            .collect()
    }

    fn read_one(
        &self,
        row: usize,
        channel: usize,
        network: f32,
        out: &mut [f32],
    ) -> Result<(), IoError> {
        let piece = self.piece(row, channel);
        match self.layout.pixels {
            PixelType::F32 => {
                let values: Vec<f32> = self.images.read(&piece)?;
                out.iter_mut()
                    .zip(values)
                    .for_each(|(o, v)| *o = v * network);
            }
            PixelType::U16 => {
                let Coding { scale, offset } = self.codings[channel];
                let (scale, offset) = (scale * network, offset * network);
                let values: Vec<u16> = self.images.read(&piece)?;
                out.iter_mut()
                    .zip(values)
                    .for_each(|(o, v)| *o = f32::from(v) * scale + offset);
            }
        }
        Ok(())
    }

    /// One crop with all channels in its stored type.
    pub(super) fn read_stored(&self, row: usize) -> Result<Stored, IoError> {
        Ok(match self.layout.pixels {
            PixelType::F32 => Stored::F32(self.images.read_rows(row..row + 1)?),
            PixelType::U16 => Stored::U16(self.images.read_rows(row..row + 1)?),
        })
    }
}

fn check_version(path: &Path, root: &serde_json::Map<String, Value>) -> Result<(), IoError> {
    let format = root.get("format").and_then(Value::as_str);
    if format != Some(FORMAT) {
        let found = format.unwrap_or("a store of another kind");
        let hint = "a crop store is written by preprocess, or by convert from cytoself's files";
        return Err(IoError::malformed(
            path,
            "attribute format",
            FORMAT,
            found,
            hint,
        ));
    }
    match root.get("format_version") {
        Some(v) if v.as_u64() == Some(VERSION) => Ok(()),
        other => {
            let found = other.map_or("none".into(), Value::to_string);
            Err(IoError::Version {
                path: path.to_path_buf(),
                format: FORMAT,
                found,
                expected: VERSION,
            })
        }
    }
}

impl CropStore {
    fn read_scaled(
        &self,
        rows: &[usize],
        channels: &[usize],
        scale: impl Fn(usize) -> f32 + Sync,
        out: &mut [f32],
    ) -> Result<(), IoError> {
        let pixels = check_request(self, rows, channels, out)?;
        let crop = pixels * channels.len();
        if crop == 0 {
            return Ok(());
        }
        out.par_chunks_exact_mut(crop)
            .zip(rows)
            .try_for_each(|(out, &row)| {
                channels
                    .iter()
                    .zip(out.chunks_exact_mut(pixels))
                    .try_for_each(|(&channel, out)| {
                        self.read_one(row, channel, scale(channel), out)
                    })
            })
    }
}

impl CropSource for CropStore {
    fn table(&self) -> &CropTable {
        &self.table
    }

    fn channels(&self) -> &[String] {
        &self.layout.channels
    }

    /// Height and width; crops with slices are as many images on top of each other.
    fn crop_shape(&self) -> [usize; 2] {
        let [h, w] = self.layout.crop;
        [self.layout.slices * h, w]
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
            |channel| network_scale(&self.layout.channels[channel]),
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

    fn place(&self, row: usize, _channel: usize) -> (PathBuf, usize) {
        (self.path.clone(), row)
    }
}
