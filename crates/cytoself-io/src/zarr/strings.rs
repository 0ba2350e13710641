//! Arrays of text.

use serde_json::{Map, Value};
use zarrs::array::codec::ZstdCodec;
use zarrs::array::{Array, ArrayBuilder, ArraySubset};

use super::{Hierarchy, fault};
use crate::IoError;

/// Texts in one chunk.
const CHUNK: usize = 65_536;

/// Writes texts as a one-dimensional array, or as a scalar.
pub(crate) fn write_strings<'a>(
    hierarchy: &Hierarchy,
    node: &str,
    mut texts: impl ExactSizeIterator<Item = &'a str>,
    scalar: bool,
    attributes: Map<String, Value>,
) -> Result<(), IoError> {
    let error = |e: &dyn std::error::Error| {
        fault(hierarchy.path(), node, std::io::Error::other(e.to_string()))
    };
    let count = texts.len();
    let chunk = count.clamp(1, CHUNK);
    let (shape, chunks): (Vec<u64>, Vec<u64>) = if scalar {
        (vec![], vec![])
    } else {
        (vec![count as u64], vec![chunk as u64])
    };
    let array = ArrayBuilder::new(shape, chunks, "string", "")
        .bytes_to_bytes_codecs(vec![std::sync::Arc::new(ZstdCodec::new(3, false))])
        .attributes(attributes)
        .build(hierarchy.store.clone(), node)
        .map_err(|e| error(&e))?;
    for index in 0..count.div_ceil(chunk) {
        let mut block: Vec<&str> = texts.by_ref().take(chunk).collect();
        block.resize(chunk, "");
        let place: &[u64] = if scalar { &[] } else { &[index as u64] };
        array
            .store_chunk(place, &block[..])
            .map_err(|e| fault(hierarchy.path(), node, e))?;
    }
    array
        .store_metadata()
        .map_err(|e| fault(hierarchy.path(), node, e))
}

/// Reads the texts of a one-dimensional array, chunk by chunk, or of a scalar.
pub(crate) fn read_strings(
    hierarchy: &Hierarchy,
    node: &str,
    mut each: impl FnMut(&str) -> Result<(), IoError>,
) -> Result<(), IoError> {
    let array =
        Array::open(hierarchy.store.clone(), node).map_err(|e| fault(hierarchy.path(), node, e))?;
    let count = match array.shape() {
        [] => None,
        [n] => Some(*n),
        shape => {
            let found = format!("{} axes", shape.len());
            return Err(IoError::malformed(
                hierarchy.path(),
                node,
                "one axis",
                found,
                "",
            ));
        }
    };
    let blocks: Vec<ArraySubset> = match count {
        None => vec![ArraySubset::new_with_shape(vec![])],
        Some(n) => (0..n)
            .step_by(CHUNK)
            .map(|start| {
                ArraySubset::new_with_ranges(std::slice::from_ref(
                    &(start..n.min(start + CHUNK as u64)),
                ))
            })
            .collect(),
    };
    for block in blocks {
        let texts: Vec<String> = array
            .retrieve_array_subset(&block)
            .map_err(|e| fault(hierarchy.path(), node, e))?;
        texts.iter().try_for_each(|text| each(text))?;
    }
    Ok(())
}
