//! Writing a crop store in blocks.

use std::path::{Path, PathBuf};

use ndarray::{ArrayView, ArrayView4, ArrayView5, Dimension};

use super::format::{Coding, CropLayout, PixelType};
use crate::zarr::{Hierarchy, RowWriter};
use crate::{CropTable, IoError, TextColumn};

/// Writes a crop store block by block; memory holds one shard of crops and the table.
///
/// # Example
/// ```
/// use cytoself_io::{CropLayout, CropStoreWriter, CropTable, open_crops};
/// use ndarray::Array4;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("crops.zarr");
/// let mut writer = CropStoreWriter::create(&path, &CropLayout::new(&["pro", "nucdist"], [4, 4]).made("normalisation", "crop"))?;
/// let mut table = CropTable::new();
/// table.push(&[("crop", "a:0".into()), ("protein", "ATL2".into())])?;
/// writer.append(Array4::from_elem((1, 2, 4, 4), 0.5).view(), &table)?;
/// writer.finish()?;
/// let crops = open_crops(&path)?;
/// let mut out = vec![0.0; 2 * 16];
/// crops.read_into(&[0], &[0, 1], &mut out)?;
/// assert_eq!((out[0], out[16]), (0.5, 0.005)); // a distance enters the network in hundredths of a px
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CropStoreWriter {
    path: PathBuf,
    layout: CropLayout,
    codings: Vec<Coding>,
    images: Images,
    table: CropTable,
}

pub(super) enum Images {
    F32(RowWriter<f32>),
    U16(RowWriter<u16>),
}

impl CropStoreWriter {
    /// Starts a store in the folder `path`, which may exist if it is empty.
    ///
    /// # Errors
    /// - the folder cannot be created or is not empty;
    /// - the layout has no channels or no pixels.
    pub fn create(path: &Path, layout: &CropLayout) -> Result<Self, IoError> {
        layout.check()?;
        let hierarchy = Hierarchy::create(path)?;
        hierarchy.write_group("/", layout.root_attributes())?;
        let (rows, attributes) = (layout.rows(), layout.array_attributes());
        let images = match layout.pixels {
            PixelType::F32 => {
                Images::F32(RowWriter::create(&hierarchy, "/images", rows, attributes)?)
            }
            PixelType::U16 => {
                Images::U16(RowWriter::create(&hierarchy, "/images", rows, attributes)?)
            }
        };
        let codings = layout.codings();
        Ok(Self {
            path: path.to_path_buf(),
            layout: layout.clone(),
            codings,
            images,
            table: CropTable::new(),
        })
    }

    /// Appends flat crops and their rows of the table.
    ///
    /// **Shapes**: `images` is `[n, c, h, w]`. **Units**: as in cytoself's files, intensities in 0..1 and distances in px.
    ///
    /// # Errors
    /// - the shape is not that of the layout, or the table has another number of rows;
    /// - a value does not fit [`PixelType::U16`], or is not finite;
    /// - the store cannot be written.
    pub fn append(&mut self, images: ArrayView4<'_, f32>, rows: &CropTable) -> Result<(), IoError> {
        self.append_any(&images, rows)
    }

    /// Appends crops with slices; `images` is `[n, c, z, h, w]`.
    ///
    /// # Errors
    /// As [`CropStoreWriter::append`].
    pub fn append_stacks(
        &mut self,
        images: ArrayView5<'_, f32>,
        rows: &CropTable,
    ) -> Result<(), IoError> {
        self.append_any(&images, rows)
    }

    fn append_any<D: Dimension>(
        &mut self,
        images: &ArrayView<'_, f32, D>,
        rows: &CropTable,
    ) -> Result<(), IoError> {
        let expected = [&[rows.len()], &self.layout.rows().row[..]].concat();
        if images.shape() != expected {
            return Err(IoError::argument(
                "shape of crops",
                format!("{expected:?}"),
                format!("{:?}", images.shape()),
            ));
        }
        let values = images.as_standard_layout();
        let values = values.as_slice().unwrap_or_default();
        let pixels = self.layout.pixels_per_channel();
        let channels = self.layout.channels.len();
        let misfit = |index: usize| {
            let (row, channel) = (
                index / pixels / channels,
                &self.layout.channels[index / pixels % channels],
            );
            let name = rows
                .text("crop")
                .map_or_else(|| row.to_string(), |c| c.get(row).to_string());
            let place = format!("crop {name}, channel {channel}, pixel {}", index % pixels);
            IoError::argument(
                place,
                "a finite value within the range of the stored type",
                values[index],
            )
        };
        match &mut self.images {
            Images::F32(writer) => {
                if let Some(index) = values.iter().position(|v| !v.is_finite()) {
                    return Err(misfit(index));
                }
                self.table.concat(rows)?;
                writer.append(values)
            }
            Images::U16(writer) => {
                let coding = |index: usize| self.codings[index / pixels % channels];
                let stored: Option<Vec<u16>> = values
                    .iter()
                    .enumerate()
                    .map(|(i, &v)| coding(i).encode(v))
                    .collect();
                let Some(stored) = stored else {
                    let index = values
                        .iter()
                        .enumerate()
                        .position(|(i, &v)| coding(i).encode(v).is_none());
                    return Err(misfit(index.unwrap_or_default()));
                };
                self.table.concat(rows)?;
                writer.append(&stored)
            }
        }
    }

    /// Appends crops that are already in the stored type.
    pub(super) fn append_stored(&mut self, block: Stored, rows: &CropTable) -> Result<(), IoError> {
        self.table.concat(rows)?;
        match (&mut self.images, block) {
            (Images::F32(writer), Stored::F32(values)) => writer.append(&values),
            (Images::U16(writer), Stored::U16(values)) => writer.append(&values),
            _ => Err(IoError::argument(
                "stored type",
                "that of the store",
                "another",
            )),
        }
    }

    /// Number of crops so far.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.images {
            Images::F32(writer) => writer.rows(),
            Images::U16(writer) => writer.rows(),
        }
    }

    /// Whether no crop was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the last shard, the metadata and `table.csv`; returns the number of crops.
    ///
    /// # Errors
    /// - the tables have no column `crop`, or a name occurs twice in it;
    /// - the store cannot be written.
    pub fn finish(mut self) -> Result<usize, IoError> {
        if let Some(name) = duplicate(&self.table) {
            return Err(IoError::argument(
                "column crop",
                "names that differ",
                format!("{name} twice"),
            ));
        }
        let rows = match self.images {
            Images::F32(writer) => writer.finish()?,
            Images::U16(writer) => writer.finish()?,
        };
        if self.table.columns().next().is_none() {
            // A store without crops: its table still says what its rows would be.
            self.table.insert("crop", TextColumn::repeat("", 0))?;
        }
        self.table.to_csv(&self.path.join("table.csv"))?;
        Ok(rows)
    }
}

/// Crops in their stored type.
pub(super) enum Stored {
    F32(Vec<f32>),
    U16(Vec<u16>),
}

/// A crop name that occurs twice.
fn duplicate(table: &CropTable) -> Option<&str> {
    let crops = table.text("crop")?;
    if crops.category_count() == crops.len() {
        return None;
    }
    let mut seen = vec![false; crops.category_count()];
    crops
        .codes()
        .iter()
        .find(|&&code| std::mem::replace(&mut seen[code as usize], true))
        .map(|&code| crops.category(code))
}
