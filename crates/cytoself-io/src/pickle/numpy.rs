//! From the machine's values to the texts of a NumPy object array.

use std::path::Path;

use super::machine::{Fault, Machine};
use super::value::{Global, Value};
use crate::IoError;
use crate::npy::{Dtype, number_text, utf32};

/// The texts of a pickled object array, in file order.
pub(crate) fn read_texts(
    path: &Path,
    bytes: &[u8],
    elements: usize,
) -> Result<Vec<String>, IoError> {
    let mut machine = Machine::new(bytes);
    let located = |fault: Fault| {
        let place = format!("pickled array, byte {}", fault.at);
        let hint = "save the labels with dtype str, or put a labels.csv beside the arrays";
        IoError::malformed(path, place, fault.expected, fault.found, hint)
    };
    let top = machine.run().map_err(located)?;
    let items = array_items(&machine, &top).map_err(located)?;
    if items.len() != elements {
        return Err(located(
            machine.fault(format!("{elements} elements"), items.len()),
        ));
    }
    items
        .iter()
        .enumerate()
        .map(|(i, item)| text(&machine, i, item))
        .collect::<Result<_, _>>()
        .map_err(located)
}

/// The item list in the state (version, shape, dtype, is_fortran, items) of an array.
fn array_items<'a>(machine: &'a Machine<'_>, value: &Value) -> Result<&'a [Value], Fault> {
    let fault = |found: &str| machine.fault("an array of objects", found);
    let Value::Object(id) = value else {
        return Err(fault("another value"));
    };
    match machine.object(*id) {
        Some((Global::Reconstruct, _, [_, _, _, _, Value::Sequence(items)])) => {
            Ok(machine.items(*items))
        }
        Some((Global::Reconstruct, _, _)) => Err(fault("an array with another state")),
        _ => Err(fault("another object")),
    }
}

fn text(machine: &Machine<'_>, index: usize, value: &Value) -> Result<String, Fault> {
    let fault = |found: &str| machine.fault(format!("text or a number as element {index}"), found);
    Ok(match value {
        Value::None => String::new(),
        Value::Float(v) if v.is_nan() => String::new(),
        Value::Bool(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Text(v) => v.to_string(),
        Value::Bytes(v) => {
            String::from_utf8(v.to_vec()).map_err(|_| fault("bytes that are not text"))?
        }
        Value::Object(id) => match machine.object(*id) {
            Some((Global::Scalar, [Value::Object(dtype), Value::Bytes(bytes)], _)) => {
                scalar(machine, *dtype, bytes)
                    .ok_or_else(|| fault("a NumPy scalar of another type"))?
            }
            _ => return Err(fault("an object")),
        },
        Value::Sequence(_) => return Err(fault("a list")),
        Value::Global(_) => return Err(fault("a function")),
    })
}

/// A NumPy scalar: its element type and its bytes.
fn scalar(machine: &Machine<'_>, dtype: usize, bytes: &[u8]) -> Option<String> {
    let (Global::Dtype, [Value::Text(name), ..], state) = machine.object(dtype)? else {
        return None;
    };
    let big_endian = matches!(state.get(1), Some(Value::Text(order)) if &**order == ">");
    match Dtype::named(name)? {
        Dtype::Unicode { .. } => utf32(bytes, big_endian),
        Dtype::Number { kind, .. } => number_text(kind, big_endian, bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_any_other_function_is_refused() {
        // os.system("true") in protocol 0 spelling with a protocol 2 argument.
        let program = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.";
        let error = read_texts(Path::new("x_label.npy"), program, 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains("os.system"), "{error}");
    }

    #[test]
    fn hostile_numbers_allocate_nothing() {
        for program in [
            &b"\x80\x04Nr\xff\xff\xff\xff."[..],
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"e.",
            b"(((",
            b"",
        ] {
            assert!(read_texts(Path::new("x"), program, 1).is_err());
        }
    }
}
