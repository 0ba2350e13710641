//! Writing an embedding store in blocks.

use std::path::Path;

use ndarray::{ArrayRef2, ArrayView2};
use serde_json::Value;

use super::frame::{checked, encoding, write_dict, write_frame, write_vector};
use super::layout::{EmbeddingLayout, FORMAT, Part, VERSION};
use crate::zarr::{Hierarchy, Item, RowLayout, RowWriter, write_strings};
use crate::{CropTable, IoError};

/// Rows of one array of an embedding store.
#[derive(Debug, Clone, Copy)]
pub enum EmbeddingPart<'a> {
    /// Codes or counts.
    U16(ArrayView2<'a, u16>),
    /// Values.
    F32(ArrayView2<'a, f32>),
}

/// Writes an embedding store block by block; memory holds one shard per array and the table.
///
/// The store is opened by Python as `anndata.read_zarr(path)` (anndata 0.12 or later, which reads Zarr format 3).
///
/// # Example
/// ```
/// use cytoself_io::{CropTable, EmbeddingLayout, EmbeddingPart, EmbeddingStore, EmbeddingStoreWriter};
/// use ndarray::array;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("embeddings.zarr");
/// let layout = EmbeddingLayout::new().indices(2, [1, 1, 2], array![[0.0, 1.0], [2.0, 3.0]]);
/// let mut writer = EmbeddingStoreWriter::create(&path, &layout)?;
/// let mut rows = CropTable::new();
/// rows.push(&[("crop", "a:0".into()), ("protein", "ATL2".into())])?;
/// writer.append(&rows, &[("vqind2", EmbeddingPart::U16(array![[1, 0]].view()))])?;
/// writer.finish()?;
/// let store = EmbeddingStore::open(&path)?;
/// assert_eq!(store.dense("vqvec2")?, array![[2.0, 0.0, 3.0, 1.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EmbeddingStoreWriter {
    hierarchy: Hierarchy,
    parts: Vec<(Part, Rows)>,
    table: CropTable,
}

enum Rows {
    U16(RowWriter<u16>),
    F32(RowWriter<f32>),
}

impl EmbeddingStoreWriter {
    /// Starts a store in the folder `path`, which may exist if it is empty.
    ///
    /// # Errors
    /// - the folder cannot be created or is not empty;
    /// - an array has no columns, or a name that is no file name.
    pub fn create(path: &Path, layout: &EmbeddingLayout) -> Result<Self, IoError> {
        let hierarchy = Hierarchy::create(path)?;
        let mut root = encoding("anndata", "0.1.0");
        root.insert("format".into(), FORMAT.into());
        root.insert("format_version".into(), VERSION.into());
        root.insert(
            "tool".into(),
            concat!("cytoself-io ", env!("CARGO_PKG_VERSION")).into(),
        );
        root.insert("made".into(), Value::Object(layout.made.clone()));
        hierarchy.write_group("/", root)?;
        for node in ["/obsm", "/obsp", "/varm", "/varp", "/layers", "/uns"] {
            write_dict(&hierarchy, node)?;
        }
        write_uns(&hierarchy, layout)?;
        let mut parts = Vec::new();
        for part in &layout.parts {
            checked(&part.name)?;
            if part.width == 0 || parts.iter().any(|(p, _): &(Part, _)| p.name == part.name) {
                return Err(IoError::argument(
                    format!("array {}", part.name),
                    "columns, and a name of its own",
                    part.width,
                ));
            }
            let rows = if part.codes {
                Rows::U16(matrix(&hierarchy, &part.node(), part.width, 2)?)
            } else {
                Rows::F32(matrix(&hierarchy, &part.node(), part.width, 4)?)
            };
            parts.push((part.clone(), rows));
        }
        Ok(Self {
            hierarchy,
            parts,
            table: CropTable::new(),
        })
    }

    /// Appends crops: their rows of the table, and their rows of every array of the layout.
    ///
    /// # Errors
    /// - an array is missing, of another type, or has another number of rows or columns;
    /// - the store cannot be written.
    pub fn append(
        &mut self,
        rows: &CropTable,
        arrays: &[(&str, EmbeddingPart<'_>)],
    ) -> Result<(), IoError> {
        for (part, _) in &self.parts {
            let shape = arrays
                .iter()
                .find(|(name, _)| *name == part.name)
                .map(|(_, a)| match a {
                    EmbeddingPart::U16(a) => (true, a.nrows(), a.ncols()),
                    EmbeddingPart::F32(a) => (false, a.nrows(), a.ncols()),
                });
            if shape != Some((part.codes, rows.len(), part.width)) {
                let kind = |codes| if codes { "u16" } else { "f32" };
                let expected = format!("{} x {} of {}", rows.len(), part.width, kind(part.codes));
                let found = shape.map_or("nothing".into(), |(c, n, w)| {
                    format!("{n} x {w} of {}", kind(c))
                });
                return Err(IoError::argument(
                    format!("array {}", part.name),
                    expected,
                    found,
                ));
            }
        }
        if arrays.len() != self.parts.len() {
            let names = self
                .parts
                .iter()
                .map(|(p, _)| p.name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            return Err(IoError::argument(
                "arrays",
                format!("those of the layout ({names})"),
                arrays.len(),
            ));
        }
        self.table.concat(rows)?;
        for (part, writer) in &mut self.parts {
            let array = arrays
                .iter()
                .find(|(name, _)| *name == part.name)
                .map(|(_, a)| a);
            match (writer, array) {
                (Rows::U16(writer), Some(EmbeddingPart::U16(a))) => append(writer, a)?,
                (Rows::F32(writer), Some(EmbeddingPart::F32(a))) => append(writer, a)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Number of crops so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no crop was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Writes the last shards, the table and the metadata; returns the number of crops.
    ///
    /// # Errors
    /// - the store cannot be written.
    pub fn finish(self) -> Result<usize, IoError> {
        let mut columns = 0;
        for (part, rows) in self.parts {
            if part.name == "X" {
                columns = part.width;
            }
            match rows {
                Rows::U16(writer) => writer.finish()?,
                Rows::F32(writer) => writer.finish()?,
            };
        }
        write_frame(&self.hierarchy, "/obs", &self.table)?;
        let mut var = CropTable::new();
        var.insert(
            "crop",
            crate::TextColumn::from_texts((0..columns).map(|c| c.to_string()))?,
        )?;
        write_frame(&self.hierarchy, "/var", &var)?;
        Ok(self.table.len())
    }
}

fn append<T: Item>(writer: &mut RowWriter<T>, rows: &ArrayRef2<T>) -> Result<(), IoError> {
    match rows.as_slice() {
        Some(values) => writer.append(values),
        None => writer.append(&rows.iter().copied().collect::<Vec<T>>()),
    }
}

/// Starts a two-dimensional array of AnnData.
pub(super) fn matrix<T: Item>(
    hierarchy: &Hierarchy,
    node: &str,
    width: usize,
    size: usize,
) -> Result<RowWriter<T>, IoError> {
    RowWriter::create(
        hierarchy,
        node,
        RowLayout::matrix(width, size),
        encoding("array", "0.2.0"),
    )
}

/// Codebooks, shapes of codes, and the record of how the embeddings were made.
fn write_uns(hierarchy: &Hierarchy, layout: &EmbeddingLayout) -> Result<(), IoError> {
    for level in &layout.levels {
        let (k, d) = level.codebook.dim();
        if k == 0 || d == 0 || k > 1 << 16 {
            return Err(IoError::argument(
                format!("codebook {}", level.level),
                "1 to 65536 codes",
                format!("{k} x {d}"),
            ));
        }
        let mut writer = matrix::<f32>(hierarchy, &format!("/uns/codebook{}", level.level), d, 4)?;
        append(&mut writer, &level.codebook)?;
        writer.finish()?;
        write_vector(
            hierarchy,
            &format!("/uns/vqind{}_shape", level.level),
            &level.shape.map(|s| s as i64),
        )?;
    }
    write_dict(hierarchy, "/uns/cytoself")?;
    let made = Value::Object(layout.made.clone()).to_string();
    let entries = [
        ("tool", concat!("cytoself-io ", env!("CARGO_PKG_VERSION"))),
        ("made", made.as_str()),
    ];
    for (name, text) in entries {
        let node = format!("/uns/cytoself/{name}");
        write_strings(
            hierarchy,
            &node,
            std::iter::once(text),
            true,
            encoding("string", "0.2.0"),
        )?;
    }
    Ok(())
}
