//! Reading an embedding store.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2};
use serde_json::{Map, Value};

use super::expand::{count_codes, expand_codes};
use super::frame::read_frame;
use super::layout::{FORMAT, VERSION, node};
use crate::zarr::{Hierarchy, Item, RowArray};
use crate::{CropTable, IoError};

/// Codebook `[k, d]` and shape (split, h, w) of the codes, by level.
type Codebooks = BTreeMap<u32, (Array2<f32>, [usize; 3])>;

/// Embeddings in an AnnData store, read by rows.
pub struct EmbeddingStore {
    pub(super) hierarchy: Hierarchy,
    pub(super) obs: CropTable,
    pub(super) arrays: BTreeMap<String, RowArray>,
    codebooks: Codebooks,
    made: Map<String, Value>,
}

impl EmbeddingStore {
    /// Opens the store in the folder `path`; also one that Python's AnnData has written again.
    ///
    /// # Errors
    /// - the folder is no AnnData store of Zarr format 3, or one of another version of ours;
    /// - an array has another number of rows than the table.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let hierarchy = Hierarchy::open(path)?;
        let root = hierarchy.attributes("/")?;
        check_format(path, &root)?;
        let obs = read_frame(&hierarchy, "/obs")?;
        let mut names: Vec<String> = if hierarchy.has("/obsm") {
            hierarchy.children("/obsm")?
        } else {
            Vec::new()
        };
        if hierarchy.has("/X") {
            names.push("X".into());
        }
        let mut arrays = BTreeMap::new();
        for name in names {
            // Sparse matrices and data frames are groups, which are not ours.
            let Ok(array) = RowArray::open(&hierarchy, &node(&name)) else {
                continue;
            };
            if array.shape().len() != 2 || array.shape()[0] != obs.len() {
                let expected = format!("{} rows", obs.len());
                return Err(IoError::malformed(
                    path,
                    node(&name),
                    expected,
                    format!("shape {:?}", array.shape()),
                    "",
                ));
            }
            arrays.insert(name, array);
        }
        let codebooks = read_codebooks(&hierarchy)?;
        let made = root
            .get("made")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        Ok(Self {
            hierarchy,
            obs,
            arrays,
            codebooks,
            made,
        })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.hierarchy.path().to_path_buf()
    }

    /// One row per crop.
    #[must_use]
    pub fn obs(&self) -> &CropTable {
        &self.obs
    }

    /// Number of crops.
    #[must_use]
    pub fn len(&self) -> usize {
        self.obs.len()
    }

    /// Whether there are no crops.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.obs.is_empty()
    }

    /// Names of the arrays that are stored, `X` or in `obsm`.
    pub fn arrays(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// A parameter that the embeddings were made with.
    #[must_use]
    pub fn made(&self, name: &str) -> Option<&str> {
        self.made.get(name)?.as_str()
    }

    /// All parameters that the embeddings were made with.
    pub fn made_all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.made
            .iter()
            .filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
    }

    /// The codebook of a level, `[k, d]`.
    ///
    /// # Errors
    /// - the store has none for this level.
    pub fn codebook(&self, level: u32) -> Result<ArrayView2<'_, f32>, IoError> {
        self.level(level).map(|(codebook, _)| codebook.view())
    }

    /// Shape of the codes of a level: split, h, w.
    ///
    /// # Errors
    /// - the store has none for this level.
    pub fn index_shape(&self, level: u32) -> Result<[usize; 3], IoError> {
        self.level(level).map(|(_, shape)| *shape)
    }

    /// Levels that have a codebook.
    pub fn levels(&self) -> impl Iterator<Item = u32> {
        self.codebooks.keys().copied()
    }

    fn level(&self, level: u32) -> Result<&(Array2<f32>, [usize; 3]), IoError> {
        self.codebooks.get(&level).ok_or_else(|| {
            let found: Vec<String> = self
                .codebooks
                .keys()
                .map(|l| format!("codebook{l}"))
                .collect();
            let hint = format!(
                "it has {}",
                if found.is_empty() {
                    "none".into()
                } else {
                    found.join(", ")
                }
            );
            IoError::missing(self.hierarchy.path(), format!("/uns/codebook{level}"), hint)
        })
    }

    fn array(&self, name: &str) -> Result<&RowArray, IoError> {
        self.arrays.get(name).ok_or_else(|| {
            let stored = self.arrays().collect::<Vec<_>>().join(", ");
            IoError::missing(
                self.hierarchy.path(),
                format!("the array {name}"),
                format!("it has {stored}"),
            )
        })
    }

    /// All codes or counts of the array `name`, e.g. `vqind2`, `[n, split * h * w]`.
    ///
    /// # Errors
    /// - there is no such array, or it does not hold whole numbers below 65536;
    /// - it cannot be read.
    pub fn indices(&self, name: &str) -> Result<Array2<u16>, IoError> {
        self.indices_rows(name, 0..self.len())
    }

    /// Codes or counts of some rows.
    ///
    /// # Errors
    /// As [`EmbeddingStore::indices`], or the rows do not exist.
    pub fn indices_rows(&self, name: &str, rows: Range<usize>) -> Result<Array2<u16>, IoError> {
        if let Some(level) = derived(name, "vqindhist").filter(|_| !self.arrays.contains_key(name))
        {
            let codes = self.indices_rows(&format!("vqind{level}"), rows)?;
            return count_codes(codes.view(), self.level(level)?.0.nrows());
        }
        let array = self.array(name)?;
        match array.dtype().as_str() {
            "uint16" => self.block::<u16>(array, rows),
            "int64" => self.narrow(name, self.block::<i64>(array, rows)?),
            "int32" => self.narrow(name, self.block::<i32>(array, rows)?),
            "uint32" => self.narrow(name, self.block::<u32>(array, rows)?),
            other => Err(IoError::malformed(
                self.hierarchy.path(),
                node(name),
                "whole numbers",
                other,
                "",
            )),
        }
    }

    fn narrow<T: Copy + TryInto<u16> + ToString>(
        &self,
        name: &str,
        values: Array2<T>,
    ) -> Result<Array2<u16>, IoError> {
        let fault = |v: T| {
            IoError::malformed(
                self.hierarchy.path(),
                node(name),
                "codes below 65536",
                v.to_string(),
                "",
            )
        };
        let shape = values.dim();
        let codes: Vec<u16> = values
            .iter()
            .map(|&v| v.try_into().map_err(|_| fault(v)))
            .collect::<Result<_, _>>()?;
        Array2::from_shape_vec(shape, codes).map_err(|e| IoError::argument("codes", "a matrix", e))
    }

    fn block<T: Item>(&self, array: &RowArray, rows: Range<usize>) -> Result<Array2<T>, IoError> {
        let shape = (rows.len(), array.shape()[1]);
        let values = array.read_rows(rows)?;
        Array2::from_shape_vec(shape, values).map_err(|e| IoError::argument("rows", "a matrix", e))
    }

    /// Whether the stored array `name` holds codes or counts.
    pub(super) fn holds_codes(&self, name: &str) -> Result<bool, IoError> {
        Ok(self.array(name)?.dtype() == "uint16")
    }

    /// Number of columns that [`EmbeddingStore::dense`] gives for `name`.
    ///
    /// # Errors
    /// - there is no such array, and none that it can be made from.
    pub fn width(&self, name: &str) -> Result<usize, IoError> {
        if let Some(array) = self.arrays.get(name) {
            return Ok(array.shape()[1]);
        }
        if let Some(level) = derived(name, "vqindhist") {
            return Ok(self.level(level)?.0.nrows());
        }
        if let Some(level) = derived(name, "vqvec") {
            let (codebook, [split, h, w]) = self.level(level)?;
            return Ok(split * codebook.ncols() * h * w);
        }
        self.array(name).map(|a| a.shape()[1])
    }

    /// All rows of the array `name` as f32: `X`, any array of `obsm`, or `vqvec{level}` and `vqindhist{level}`, which are made from the codes if
    /// they are not stored.
    ///
    /// # Errors
    /// - there is no such array, and none that it can be made from;
    /// - it cannot be read.
    pub fn dense(&self, name: &str) -> Result<Array2<f32>, IoError> {
        self.dense_rows(name, 0..self.len())
    }

    /// Some rows of the array `name` as f32; see [`EmbeddingStore::dense`].
    ///
    /// # Errors
    /// As [`EmbeddingStore::dense`], or the rows do not exist.
    pub fn dense_rows(&self, name: &str, rows: Range<usize>) -> Result<Array2<f32>, IoError> {
        let Some(array) = self.arrays.get(name) else {
            return self.derived_rows(name, rows);
        };
        match array.dtype().as_str() {
            "float32" => self.block::<f32>(array, rows),
            "float64" => Ok(self.block::<f64>(array, rows)?.mapv(|v| v as f32)),
            _ => Ok(self.indices_rows(name, rows)?.mapv(f32::from)),
        }
    }

    fn derived_rows(&self, name: &str, rows: Range<usize>) -> Result<Array2<f32>, IoError> {
        if derived(name, "vqindhist").is_some() {
            return Ok(self.indices_rows(name, rows)?.mapv(f32::from));
        }
        let Some(level) = derived(name, "vqvec") else {
            return self.array(name).and_then(|a| self.block::<f32>(a, rows));
        };
        let codes = self.indices_rows(&format!("vqind{level}"), rows)?;
        let (codebook, shape) = self.level(level)?;
        expand_codes(codes.view(), codebook.view(), *shape)
    }
}

/// The level of an array name such as `vqvec2`.
fn derived(name: &str, prefix: &str) -> Option<u32> {
    name.strip_prefix(prefix)?.parse().ok()
}

fn check_format(path: &Path, root: &Map<String, Value>) -> Result<(), IoError> {
    let kind = root.get("encoding-type").and_then(Value::as_str);
    if kind != Some("anndata") {
        let found = root
            .get("format")
            .and_then(Value::as_str)
            .or(kind)
            .unwrap_or("a store of another kind");
        let hint = "an embedding store is written by embed";
        return Err(IoError::malformed(
            path,
            "attribute encoding-type",
            "anndata",
            found,
            hint,
        ));
    }
    match root.get("format_version") {
        // Python's AnnData drops attributes that it does not know.
        None => Ok(()),
        Some(v) if v.as_u64() == Some(VERSION) => Ok(()),
        Some(v) => Err(IoError::Version {
            path: path.to_path_buf(),
            format: FORMAT,
            found: v.to_string(),
            expected: VERSION,
        }),
    }
}

fn read_codebooks(hierarchy: &Hierarchy) -> Result<Codebooks, IoError> {
    let mut codebooks = BTreeMap::new();
    if !hierarchy.has("/uns") {
        return Ok(codebooks);
    }
    for name in hierarchy.children("/uns")? {
        let Some(level) = derived(&name, "codebook") else {
            continue;
        };
        let array = RowArray::open(hierarchy, &format!("/uns/{name}"))?;
        let fault = |found: String| {
            IoError::malformed(
                hierarchy.path(),
                format!("/uns/{name}"),
                "a matrix of codes",
                found,
                "",
            )
        };
        let &[k, d] = array.shape() else {
            return Err(fault(format!("shape {:?}", array.shape())));
        };
        if k > 1 << 16 {
            return Err(fault(format!("{k} codes")));
        }
        let codebook = Array2::from_shape_vec((k, d), array.read_rows(0..k)?)
            .map_err(|e| fault(e.to_string()))?;
        let shape = RowArray::open(hierarchy, &format!("/uns/vqind{level}_shape"))?;
        let sizes: Vec<i64> = shape.read_rows(0..shape.shape().first().copied().unwrap_or(0))?;
        let sizes: Vec<usize> = sizes
            .iter()
            .filter_map(|&s| usize::try_from(s).ok().filter(|&s| s <= 1 << 16))
            .collect();
        let Ok(sizes) = <[usize; 3]>::try_from(sizes) else {
            return Err(fault("a shape other than (split, h, w)".into()));
        };
        codebooks.insert(level, (codebook, sizes));
    }
    Ok(codebooks)
}
