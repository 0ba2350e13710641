//! The safetensors format.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, SafeTensors};
use serde_json::json;

use crate::ModelError;

/// The key under which our files say how they were made.
const KEY: &str = "cytoself";

/// A tensor on its way into a file.
struct Stored<'a> {
    name: &'a str,
    tensor: Tensor,
    dtype: Dtype,
}

impl Stored<'_> {
    fn bytes_per_value(&self) -> usize {
        if self.dtype == Dtype::F32 { 4 } else { 8 }
    }

    fn length(&self) -> usize {
        self.tensor.elem_count() * self.bytes_per_value()
    }

    fn bytes(&self) -> Result<Vec<u8>, ModelError> {
        let flat = self.tensor.flatten_all()?;
        Ok(match self.dtype {
            Dtype::F32 => flat
                .to_vec1::<f32>()?
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect(),
            Dtype::F64 => flat
                .to_vec1::<f64>()?
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect(),
            _ => flat
                .to_vec1::<i64>()?
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect(),
        })
    }
}

/// Writes named tensors (f32, f64 or i64) and a note on how they were made.
///
/// The same tensors and note give the same bytes.
///
/// # Errors
/// - the file cannot be written;
/// - a tensor is of another type.
pub fn save<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, Tensor)>,
    note: &str,
) -> Result<(), ModelError> {
    let mut stored = Vec::new();
    for (name, tensor) in tensors {
        let dtype = match tensor.dtype() {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::I64 => Dtype::I64,
            other => {
                return Err(ModelError::format(
                    path,
                    format!("tensor {name}: expected f32, f64 or i64, found {other:?}"),
                ));
            }
        };
        let tensor = tensor.to_device(&Device::Cpu)?;
        stored.push(Stored {
            name,
            tensor,
            dtype,
        });
    }
    // Wider values first, so that all are aligned.
    stored.sort_by_key(|s| (std::cmp::Reverse(s.bytes_per_value()), s.name));
    let mut out = BufWriter::new(File::create(path).map_err(ModelError::file(path))?);
    out.write_all(&header(&stored, note))
        .map_err(ModelError::file(path))?;
    for tensor in &stored {
        out.write_all(&tensor.bytes()?)
            .map_err(ModelError::file(path))?;
    }
    out.flush().map_err(ModelError::file(path))?;
    out.get_ref().sync_all().map_err(ModelError::file(path))
}

/// Length and JSON of the format's header; one tensor in memory at a time, and a full disk is an error, where the format's own
/// crate writes through a memory map and a full disk is a signal.
fn header(stored: &[Stored<'_>], note: &str) -> Vec<u8> {
    let mut entries = serde_json::Map::new();
    entries.insert("__metadata__".into(), json!({ KEY: note }));
    let mut start = 0;
    for tensor in stored {
        let end = start + tensor.length();
        let kind = match tensor.dtype {
            Dtype::F32 => "F32",
            Dtype::F64 => "F64",
            _ => "I64",
        };
        let entry =
            json!({ "dtype": kind, "shape": tensor.tensor.dims(), "data_offsets": [start, end] });
        entries.insert(tensor.name.to_string(), entry);
        start = end;
    }
    let mut text = serde_json::Value::Object(entries).to_string();
    // The data start at a multiple of 8.
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Reads all tensors of a file; f16 and bf16 become f32.
pub(super) fn read(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>, ModelError> {
    let bytes = fs::read(path).map_err(ModelError::file(path))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| ModelError::format(path, format!("not a complete safetensors file: {e}")))?;
    let mut tensors = HashMap::with_capacity(file.len());
    for (name, view) in file.iter() {
        let tensor = match view.dtype() {
            Dtype::F32 => Tensor::from_raw_buffer(view.data(), DType::F32, view.shape(), device)?,
            Dtype::I64 => Tensor::from_raw_buffer(view.data(), DType::I64, view.shape(), device)?,
            Dtype::F64 => Tensor::from_raw_buffer(view.data(), DType::F64, view.shape(), device)?,
            Dtype::F16 => Tensor::from_raw_buffer(view.data(), DType::F16, view.shape(), device)?
                .to_dtype(DType::F32)?,
            Dtype::BF16 => Tensor::from_raw_buffer(view.data(), DType::BF16, view.shape(), device)?
                .to_dtype(DType::F32)?,
            other => {
                return Err(ModelError::format(
                    path,
                    format!("tensor {name}: expected a floating type or i64, found {other:?}"),
                ));
            }
        };
        tensors.insert(name.to_string(), tensor);
    }
    Ok(tensors)
}

/// The note that [`save`] left in a file; reads the header only.
///
/// # Errors
/// - the file cannot be read or is not a safetensors file.
pub fn metadata(path: &Path) -> Result<Option<String>, ModelError> {
    use std::io::Read;
    let mut file = File::open(path).map_err(ModelError::file(path))?;
    let mut length = [0_u8; 8];
    file.read_exact(&mut length)
        .map_err(ModelError::file(path))?;
    let length = u64::from_le_bytes(length);
    let size = file.metadata().map_err(ModelError::file(path))?.len();
    if length > size {
        return Err(ModelError::format(
            path,
            format!("expected a header of {length} bytes, found a file of {size}"),
        ));
    }
    let mut header = Vec::new();
    file.take(length)
        .read_to_end(&mut header)
        .map_err(ModelError::file(path))?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|e| ModelError::format(path, format!("not a safetensors file: {e}")))?;
    Ok(metadata
        .metadata()
        .as_ref()
        .and_then(|m| m.get(KEY).cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_keeps_bits_and_note() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let a = Tensor::new(
            &[[1.0_f32, -0.0], [f32::MIN_POSITIVE, f32::NAN]],
            &Device::Cpu,
        )
        .unwrap();
        let b = Tensor::new(7_i64, &Device::Cpu).unwrap();
        let c = Tensor::new(&[0.1_f64], &Device::Cpu).unwrap();
        let all = || [("a", a.clone()), ("b", b.clone()), ("c", c.clone())];
        save(&path, all(), "note").unwrap();
        let first = fs::read(&path).unwrap();
        let read = read(&path, &Device::Cpu).unwrap();
        let bits = |t: &Tensor| {
            t.flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
                .iter()
                .map(|x| x.to_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&read["a"]), bits(&a));
        assert_eq!(read["b"].to_scalar::<i64>().unwrap(), 7);
        assert_eq!(read["c"].to_vec1::<f64>().unwrap(), [0.1]);
        assert_eq!(metadata(&path).unwrap().as_deref(), Some("note"));
        save(&path, all(), "note").unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
    }

    #[test]
    fn damaged_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        save(
            &path,
            [("a", Tensor::zeros(100, DType::F32, &Device::Cpu).unwrap())],
            "",
        )
        .unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in [0, 4, 20, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path, &Device::Cpu).is_err(), "{cut}");
        }
        fs::write(&path, [0xff; 64]).unwrap();
        assert!(read(&path, &Device::Cpu).is_err());
        assert!(metadata(&path).is_err());
    }
}
