//! Arrays whose first axis grows: written shard by shard, read in any order of rows.

use std::ops::Range;

use serde_json::{Map, Value};
use zarrs::array::codec::ZstdCodec;
use zarrs::array::codec::array_to_bytes::sharding::{ShardingCodecOptions, SubchunkWriteOrder};
use zarrs::array::{
    Array, ArrayBuilder, ArrayShardedReadableExt, ArrayShardedReadableExtCache, ArraySubset,
    CodecOptions, CodecSpecificOptions, Element, ElementOwned,
};
use zarrs::filesystem::FilesystemStore;
use zarrs::metadata::FillValueMetadata;

use super::{Hierarchy, fault};
use crate::IoError;

/// Level of zstd: a good ratio at several hundred MB/s per core.
const ZSTD_LEVEL: i32 = 3;

/// An element type of our arrays.
pub(crate) trait Item:
    Copy + Default + Send + Sync + Element + ElementOwned + 'static
{
    /// Name of the Zarr data type.
    const NAME: &'static str;

    /// Zero, the value of pieces that are not stored.
    fn zero() -> FillValueMetadata;
}

macro_rules! items {
    ($($type:ty => $name:literal),*) => {
        $(impl Item for $type {
            const NAME: &'static str = $name;

            fn zero() -> FillValueMetadata {
                <$type>::default().into()
            }
        })*
    };
}

items!(i8 => "int8", i16 => "int16", u16 => "uint16", u32 => "uint32", i32 => "int32", i64 => "int64", f32 => "float32", f64 => "float64", bool => "bool");

/// Shape of rows and of the pieces they are stored in.
#[derive(Debug, Clone)]
pub(crate) struct RowLayout {
    /// Shape of one row.
    pub row: Vec<usize>,
    /// Shape of the piece that is compressed on its own: rows, then the axes of a row.
    pub piece: Vec<usize>,
    /// Rows in one shard, which is one file: a multiple of the rows of a piece.
    pub shard_rows: usize,
    /// Names of the axes; may be empty.
    pub axes: Vec<&'static str>,
}

impl RowLayout {
    /// For rows of `columns` values of `size` bytes: pieces of about 256 kB, shards of at most 16 MB.
    pub(crate) fn matrix(columns: usize, size: usize) -> Self {
        let rows = (262_144 / (columns * size).max(1)).clamp(1, 16_384);
        Self {
            row: vec![columns],
            piece: vec![rows, columns.max(1)],
            shard_rows: rows * 64,
            axes: Vec::new(),
        }
    }

    /// For one value per row.
    pub(crate) fn vector(rows: usize) -> Self {
        let piece = rows.clamp(1, 65_536);
        Self {
            row: Vec::new(),
            piece: vec![piece],
            shard_rows: piece * 16,
            axes: Vec::new(),
        }
    }

    fn row_len(&self) -> usize {
        self.row.iter().product()
    }
}

fn wide(sizes: &[usize]) -> Vec<u64> {
    sizes.iter().map(|&s| s as u64).collect()
}

/// Writes an array in blocks of rows; the bytes do not depend on the blocks nor on the number of threads.
pub(crate) struct RowWriter<T> {
    hierarchy: Hierarchy,
    node: String,
    array: Array<FilesystemStore>,
    layout: RowLayout,
    pending: Vec<T>,
    rows: usize,
}

impl<T: Item> RowWriter<T> {
    pub(crate) fn create(
        hierarchy: &Hierarchy,
        node: &str,
        layout: RowLayout,
        attributes: Map<String, Value>,
    ) -> Result<Self, IoError> {
        let shape = |rows: usize| wide(&[&[rows], &layout.row[..]].concat());
        let mut builder = ArrayBuilder::new(shape(0), shape(layout.shard_rows), T::NAME, T::zero());
        builder.subchunk_shape(Some(wide(&layout.piece)));
        builder.bytes_to_bytes_codecs(vec![std::sync::Arc::new(ZstdCodec::new(ZSTD_LEVEL, false))]);
        // In order, so that the bytes of a shard do not depend on which thread was first.
        let order =
            ShardingCodecOptions::default().with_subchunk_write_order(SubchunkWriteOrder::C);
        builder.codec_specific_options(CodecSpecificOptions::default().with_option(order));
        builder.attributes(attributes);
        if !layout.axes.is_empty() {
            builder.dimension_names(Some(layout.axes.clone()));
        }
        let array = builder
            .build(hierarchy.store.clone(), node)
            .map_err(|e| fault(hierarchy.path(), node, e))?;
        Ok(Self {
            hierarchy: hierarchy.clone(),
            node: node.to_string(),
            array,
            layout,
            pending: Vec::new(),
            rows: 0,
        })
    }

    /// Appends whole rows.
    pub(crate) fn append(&mut self, mut values: &[T]) -> Result<(), IoError> {
        let row = self.layout.row_len();
        if row == 0 || !values.len().is_multiple_of(row) {
            return Err(IoError::argument(
                "values",
                format!("whole rows of {row}"),
                values.len(),
            ));
        }
        let shard = self.layout.shard_rows * row;
        while self.pending.len() + values.len() >= shard {
            let (now, later) = values.split_at(shard - self.pending.len());
            self.pending.extend_from_slice(now);
            self.write_shard()?;
            values = later;
        }
        self.pending.extend_from_slice(values);
        Ok(())
    }

    /// Number of rows appended.
    pub(crate) fn rows(&self) -> usize {
        self.rows + self.pending.len() / self.layout.row_len().max(1)
    }

    fn set_rows(&mut self, rows: usize) -> Result<(), IoError> {
        let shape = wide(&[&[rows], &self.layout.row[..]].concat());
        self.array
            .set_shape(shape)
            .map_err(|e| fault(self.hierarchy.path(), &self.node, e))?;
        Ok(())
    }

    fn write_shard(&mut self) -> Result<(), IoError> {
        let rows = self.pending.len() / self.layout.row_len();
        let index = self.rows / self.layout.shard_rows;
        self.pending
            .resize(self.layout.shard_rows * self.layout.row_len(), T::default());
        self.set_rows((index + 1) * self.layout.shard_rows)?;
        let mut place = vec![0; self.layout.row.len() + 1];
        place[0] = index as u64;
        let stored =
            self.array
                .store_chunk_opt(&place, &self.pending[..], &CodecOptions::default());
        stored.map_err(|e| fault(self.hierarchy.path(), &self.node, e))?;
        self.rows += rows;
        self.pending.clear();
        Ok(())
    }

    /// Writes what is pending and the metadata; until then the array is not there.
    pub(crate) fn finish(mut self) -> Result<usize, IoError> {
        if !self.pending.is_empty() {
            self.write_shard()?;
        }
        self.set_rows(self.rows)?;
        self.array
            .store_metadata()
            .map_err(|e| fault(self.hierarchy.path(), &self.node, e))?;
        Ok(self.rows)
    }
}

/// An array read by rows; safe to use from several threads.
pub(crate) struct RowArray {
    hierarchy: Hierarchy,
    node: String,
    array: Array<FilesystemStore>,
    cache: ArrayShardedReadableExtCache,
    options: CodecOptions,
    shape: Vec<usize>,
}

impl RowArray {
    pub(crate) fn open(hierarchy: &Hierarchy, node: &str) -> Result<Self, IoError> {
        if !hierarchy.has(node) {
            return Err(IoError::missing(
                hierarchy.path(),
                format!("the array {node}"),
                "",
            ));
        }
        let array = Array::open(hierarchy.store.clone(), node)
            .map_err(|e| fault(hierarchy.path(), node, e))?;
        let shape: Option<Vec<usize>> = array.shape().iter().map(|&s| s.try_into().ok()).collect();
        let shape = shape
            .filter(|s| {
                s.iter()
                    .try_fold(1_usize, |n, &s| n.checked_mul(s))
                    .is_some()
            })
            .ok_or_else(|| {
                IoError::malformed(
                    hierarchy.path(),
                    format!("shape of {node}"),
                    "sizes below 2^64",
                    format!("{:?}", array.shape()),
                    "",
                )
            })?;
        let cache = ArrayShardedReadableExtCache::new(&array);
        // One piece is small; parallelism is over rows.
        let options = CodecOptions::default().with_concurrent_target(1);
        Ok(Self {
            hierarchy: hierarchy.clone(),
            node: node.to_string(),
            array,
            cache,
            options,
            shape,
        })
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn attributes(&self) -> &Map<String, Value> {
        self.array.attributes()
    }

    /// Name of the data type in Zarr format 3.
    pub(crate) fn dtype(&self) -> String {
        let name = self.array.data_type().to_string();
        name.split(' ').next().unwrap_or_default().to_string()
    }

    /// The values of a block given by one range per axis.
    pub(crate) fn read<T: Item>(&self, ranges: &[Range<usize>]) -> Result<Vec<T>, IoError> {
        let inside = ranges.len() == self.shape.len()
            && ranges
                .iter()
                .zip(&self.shape)
                .all(|(r, &s)| r.start <= r.end && r.end <= s);
        if !inside {
            return Err(IoError::argument(
                "block",
                format!("within {:?}", self.shape),
                format!("{ranges:?}"),
            ));
        }
        let ranges: Vec<Range<u64>> = ranges
            .iter()
            .map(|r| r.start as u64..r.end as u64)
            .collect();
        let subset = ArraySubset::new_with_ranges(&ranges);
        let read = self.array.retrieve_array_subset_sharded_opt::<Vec<T>>(
            &self.cache,
            &subset,
            &self.options,
        );
        read.map_err(|e| fault(self.hierarchy.path(), &self.node, e))
    }

    /// Whole rows.
    pub(crate) fn read_rows<T: Item>(&self, rows: Range<usize>) -> Result<Vec<T>, IoError> {
        let ranges: Vec<Range<usize>> = std::iter::once(rows)
            .chain(self.shape.iter().skip(1).map(|&s| 0..s))
            .collect();
        self.read(&ranges)
    }
}
