//! Joining embedding stores.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis};

use super::layout::{EmbeddingLayout, Level, Part};
use super::reader::EmbeddingStore;
use super::writer::{EmbeddingPart, EmbeddingStoreWriter};
use crate::order::natural;
use crate::zarr::Item;
use crate::{CropTable, IoError};

/// Rows that are read and written at a time.
const BLOCK: usize = 1024;

/// Joins embedding stores of one layout into a new one, whose bytes depend neither on the order of `inputs` nor on how the crops were
/// divided among them: crops are sorted by name, numbers in names by value. Returns the number of crops.
///
/// Of the records of how the embeddings were made, those that all inputs agree on are kept, except `shard`.
///
/// # Errors
/// - there is no input, or an input cannot be opened;
/// - inputs differ in arrays or codebooks;
/// - two crops have the same name;
/// - `progress` breaks: [`IoError::Cancelled`].
pub fn merge_embeddings(
    inputs: &[PathBuf],
    output: &Path,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<usize, IoError> {
    let stores: Vec<EmbeddingStore> = inputs
        .iter()
        .map(|p| EmbeddingStore::open(p))
        .collect::<Result<_, _>>()?;
    let layout = common_layout(inputs, &stores)?;
    let mut order: Vec<(usize, usize)> = stores
        .iter()
        .enumerate()
        .flat_map(|(s, store)| (0..store.len()).map(move |row| (s, row)))
        .collect();
    let name = |&(store, row): &(usize, usize)| {
        stores[store].obs().text("crop").map_or("", |c| c.get(row))
    };
    order.sort_by(|a, b| natural(name(a), name(b)));
    if let Some(pair) = order
        .windows(2)
        .find(|pair| name(&pair[0]) == name(&pair[1]))
    {
        let place = format!("crop {}", name(&pair[0]));
        return Err(IoError::malformed(
            &inputs[pair[1].0],
            place,
            "each crop once",
            "a crop of another input too",
            "",
        ));
    }
    let mut writer = EmbeddingStoreWriter::create(output, &layout)?;
    let mut windows: Vec<Vec<Window>> = stores
        .iter()
        .map(|_| layout.parts.iter().map(|_| Window::default()).collect())
        .collect();
    for (block, rows) in order.chunks(BLOCK).enumerate() {
        if progress((block * BLOCK) as u64, order.len() as u64).is_break() {
            return Err(IoError::Cancelled);
        }
        write_block(&stores, &layout.parts, &mut windows, rows, &mut writer)?;
    }
    writer.finish()
}

/// The part of an array that was read last: inputs that are sorted themselves are read once, from start to end.
#[derive(Default)]
struct Window {
    start: usize,
    u16: Array2<u16>,
    f32: Array2<f32>,
}

impl Window {
    fn load(&mut self, store: &EmbeddingStore, part: &Part, row: usize) -> Result<usize, IoError> {
        let held = if part.codes {
            self.u16.nrows()
        } else {
            self.f32.nrows()
        };
        if row < self.start || row >= self.start + held {
            let range = row..store.len().min(row + BLOCK);
            if part.codes {
                self.u16 = store.indices_rows(&part.name, range)?;
            } else {
                self.f32 = store.dense_rows(&part.name, range)?;
            }
            self.start = row;
        }
        Ok(row - self.start)
    }
}

fn write_block(
    stores: &[EmbeddingStore],
    parts: &[Part],
    windows: &mut [Vec<Window>],
    rows: &[(usize, usize)],
    writer: &mut EmbeddingStoreWriter,
) -> Result<(), IoError> {
    let mut table = CropTable::new();
    let mut codes: Vec<Array2<u16>> = parts
        .iter()
        .map(|p| empty(p.codes, rows.len(), p.width))
        .collect();
    let mut values: Vec<Array2<f32>> = parts
        .iter()
        .map(|p| empty(!p.codes, rows.len(), p.width))
        .collect();
    for (out, &(store, row)) in rows.iter().enumerate() {
        table.concat(&stores[store].obs().select(&[row])?)?;
        for (p, part) in parts.iter().enumerate() {
            let window = &mut windows[store][p];
            let at = window.load(&stores[store], part, row)?;
            if part.codes {
                codes[p]
                    .row_mut(out)
                    .assign(&window.u16.index_axis(Axis(0), at));
            } else {
                values[p]
                    .row_mut(out)
                    .assign(&window.f32.index_axis(Axis(0), at));
            }
        }
    }
    let arrays: Vec<(&str, EmbeddingPart<'_>)> = parts
        .iter()
        .enumerate()
        .map(|(p, part)| {
            let rows = if part.codes {
                EmbeddingPart::U16(codes[p].view())
            } else {
                EmbeddingPart::F32(values[p].view())
            };
            (part.name.as_str(), rows)
        })
        .collect();
    writer.append(&table, &arrays)
}

fn empty<T: Item>(used: bool, rows: usize, width: usize) -> Array2<T> {
    Array2::from_elem(if used { (rows, width) } else { (0, 0) }, T::default())
}

fn common_layout(
    inputs: &[PathBuf],
    stores: &[EmbeddingStore],
) -> Result<EmbeddingLayout, IoError> {
    let Some(first) = stores.first() else {
        return Err(IoError::argument(
            "inputs",
            "at least one embedding store",
            0,
        ));
    };
    let mut layout = layout_of(first)?;
    for (path, store) in inputs.iter().zip(stores) {
        let other = layout_of(store)?;
        if layout.parts != other.parts || layout.levels != other.levels {
            let names = |l: &EmbeddingLayout| {
                l.parts
                    .iter()
                    .map(|p| format!("{} ({})", p.name, p.width))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let hint = "join stores of one model and the same outputs";
            return Err(IoError::malformed(
                path,
                "arrays and codebooks",
                names(&layout),
                names(&other),
                hint,
            ));
        }
        layout
            .made
            .retain(|key, value| key != "shard" && other.made.get(key) == Some(value));
    }
    Ok(layout)
}

fn layout_of(store: &EmbeddingStore) -> Result<EmbeddingLayout, IoError> {
    let mut layout = EmbeddingLayout::new();
    for name in store.arrays() {
        let codes = store.holds_codes(name)?;
        layout.parts.push(Part {
            name: name.to_string(),
            width: store.width(name)?,
            codes,
        });
    }
    for level in store.levels() {
        layout.levels.push(Level {
            level,
            shape: store.index_shape(level)?,
            codebook: store.codebook(level)?.to_owned(),
        });
    }
    for (name, value) in store.made_all() {
        layout = layout.made(name, value);
    }
    Ok(layout)
}
