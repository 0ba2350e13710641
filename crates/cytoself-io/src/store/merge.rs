//! Joining crop stores.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::format::CropLayout;
use super::reader::CropStore;
use super::writer::CropStoreWriter;
use crate::order::natural;
use crate::{CropSource, CropTable, IoError};

/// Crops between two progress calls.
const BLOCK: usize = 512;

/// Joins crop stores of one layout into a new one, whose bytes depend neither on the order of `inputs` nor on how the crops were
/// divided among them: crops are sorted by name, numbers in names by value. Returns the number of crops.
///
/// Of the records of how the crops were made, those that all inputs agree on are kept, except `shard`.
///
/// # Errors
/// - there is no input, or an input cannot be opened;
/// - inputs differ in channels, crop size or pixel type;
/// - a crop has no name, or the same name as another;
/// - `progress` breaks: [`IoError::Cancelled`].
pub fn merge_crop_stores(
    inputs: &[PathBuf],
    output: &Path,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<usize, IoError> {
    let stores: Vec<CropStore> = inputs
        .iter()
        .map(|p| CropStore::open(p))
        .collect::<Result<_, _>>()?;
    let layout = common_layout(inputs, &stores)?;
    let mut order = Vec::new();
    for (index, store) in stores.iter().enumerate() {
        if store.table().text("crop").is_none() && !store.is_empty() {
            return Err(IoError::missing(
                &inputs[index],
                "the column crop",
                "crops are joined by name",
            ));
        }
        order.extend((0..store.len()).map(|row| (index, row)));
    }
    let name = |&(store, row): &(usize, usize)| {
        stores[store]
            .table()
            .text("crop")
            .map_or("", |c| c.get(row))
    };
    order.sort_by(|a, b| natural(name(a), name(b)));
    let mut writer = CropStoreWriter::create(output, &layout)?;
    for (block, crops) in order.chunks(BLOCK).enumerate() {
        if progress((block * BLOCK) as u64, order.len() as u64).is_break() {
            return Err(IoError::Cancelled);
        }
        for &(store, row) in crops {
            writer.append_stored(
                stores[store].read_stored(row)?,
                &row_of(&stores, store, row)?,
            )?;
        }
    }
    writer.finish()
}

/// One row, with the columns of all stores in the same order.
fn row_of(stores: &[CropStore], store: usize, row: usize) -> Result<CropTable, IoError> {
    let picked = stores[store].table().select(&[row])?;
    let mut names: Vec<&str> = stores.iter().flat_map(|s| s.table().columns()).collect();
    names.sort_unstable();
    names.dedup();
    let mut out = CropTable::new();
    for name in names {
        if let Some(column) = picked.column(name) {
            out.insert(name, column.clone())?;
        }
    }
    Ok(out)
}

fn common_layout(inputs: &[PathBuf], stores: &[CropStore]) -> Result<CropLayout, IoError> {
    let Some(first) = stores.first() else {
        return Err(IoError::argument("inputs", "at least one crop store", 0));
    };
    let mut layout = first.layout().clone();
    for (path, store) in inputs.iter().zip(stores) {
        let other = store.layout();
        let kind = |l: &CropLayout| {
            format!(
                "{:?} of {} x {:?} px as {:?}",
                l.channels, l.slices, l.crop, l.pixels
            )
        };
        if kind(&layout) != kind(other) {
            return Err(IoError::malformed(
                path,
                "layout",
                kind(&layout),
                kind(other),
                "join stores of one layout",
            ));
        }
        layout
            .made
            .retain(|key, value| key != "shard" && other.made.get(key) == Some(value));
    }
    Ok(layout)
}
