//! A crop table as AnnData's data frame, and AnnData's other elements.
//!
//! # References
//! - AnnData on-disk format 0.1.0: dataframe 0.2.0, categorical 0.2.0, string-array 0.2.0, array 0.2.0, dict 0.1.0

use serde_json::{Map, Value, json};

use crate::zarr::{Hierarchy, Item, RowArray, RowLayout, RowWriter, read_strings, write_strings};
use crate::{Column, CropTable, IoError, TextColumn};

/// Attributes that say what an element is.
pub(super) fn encoding(kind: &str, version: &str) -> Map<String, Value> {
    Map::from_iter([
        ("encoding-type".to_string(), Value::from(kind)),
        ("encoding-version".to_string(), Value::from(version)),
    ])
}

/// Writes an empty dictionary.
pub(super) fn write_dict(hierarchy: &Hierarchy, node: &str) -> Result<(), IoError> {
    hierarchy.write_group(node, encoding("dict", "0.1.0"))
}

/// Writes a one-dimensional array.
pub(super) fn write_vector<T: Item>(
    hierarchy: &Hierarchy,
    node: &str,
    values: &[T],
) -> Result<(), IoError> {
    let mut writer = RowWriter::<T>::create(
        hierarchy,
        node,
        RowLayout::vector(values.len()),
        encoding("array", "0.2.0"),
    )?;
    writer.append(values)?;
    writer.finish().map(drop)
}

/// Writes a table whose index is the column `crop`, or the row number.
pub(super) fn write_frame(
    hierarchy: &Hierarchy,
    node: &str,
    table: &CropTable,
) -> Result<(), IoError> {
    let mut attributes = encoding("dataframe", "0.2.0");
    let index = if table.text("crop").is_some() {
        "crop"
    } else {
        "_index"
    };
    let order: Vec<&str> = table.columns().filter(|c| *c != "crop").collect();
    attributes.insert("_index".into(), index.into());
    attributes.insert("column-order".into(), json!(order));
    hierarchy.write_group(node, attributes)?;
    let index_node = format!("{node}/{index}");
    match table.text("crop") {
        Some(crops) => write_texts(hierarchy, &index_node, crops)?,
        None => write_texts(
            hierarchy,
            &index_node,
            &TextColumn::from_texts((0..table.len()).map(|r| r.to_string()))?,
        )?,
    }
    order
        .into_iter()
        .try_for_each(|name| write_column(hierarchy, node, name, table))
}

pub(super) fn write_column(
    hierarchy: &Hierarchy,
    frame: &str,
    name: &str,
    table: &CropTable,
) -> Result<(), IoError> {
    let node = format!("{frame}/{}", checked(name)?);
    match table.column(name) {
        Some(Column::Text(texts)) if texts.category_count() * 2 > texts.len() => {
            write_texts(hierarchy, &node, texts)
        }
        Some(Column::Text(texts)) => write_categories(hierarchy, &node, texts),
        Some(Column::Number(numbers)) => write_vector(hierarchy, &node, numbers),
        Some(Column::Flag(flags)) => write_vector(hierarchy, &node, flags),
        None => Ok(()),
    }
}

/// A name that is one folder of the store.
pub(super) fn checked(name: &str) -> Result<&str, IoError> {
    if name.is_empty() || name.starts_with(['.', '_']) || name.contains(['/', '\\', '\0']) {
        return Err(IoError::argument(
            "name",
            "letters and digits, without slashes",
            name,
        ));
    }
    Ok(name)
}

fn write_texts(hierarchy: &Hierarchy, node: &str, texts: &TextColumn) -> Result<(), IoError> {
    write_strings(
        hierarchy,
        node,
        texts.iter(),
        false,
        encoding("string-array", "0.2.0"),
    )
}

fn write_categories(hierarchy: &Hierarchy, node: &str, texts: &TextColumn) -> Result<(), IoError> {
    let texts = texts.sorted();
    let mut attributes = encoding("categorical", "0.2.0");
    attributes.insert("ordered".into(), false.into());
    hierarchy.write_group(node, attributes)?;
    let categories = format!("{node}/categories");
    write_strings(
        hierarchy,
        &categories,
        texts.categories(),
        false,
        encoding("string-array", "0.2.0"),
    )?;
    let codes: Vec<i32> = texts.codes().iter().map(|&c| c as i32).collect();
    write_vector(hierarchy, &format!("{node}/codes"), &codes)
}

/// Reads a data frame; columns of types that a crop table does not have are left out.
pub(super) fn read_frame(hierarchy: &Hierarchy, node: &str) -> Result<CropTable, IoError> {
    let attributes = hierarchy.attributes(node)?;
    let index = attributes
        .get("_index")
        .and_then(Value::as_str)
        .unwrap_or("_index")
        .to_string();
    let order = attributes
        .get("column-order")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut table = CropTable::new();
    let mut texts = TextColumn::new();
    read_strings(hierarchy, &format!("{node}/{index}"), |t| texts.push(t))?;
    table.insert("crop", texts)?;
    for name in order
        .iter()
        .filter_map(Value::as_str)
        .filter(|n| *n != "crop")
    {
        if let Some(column) = read_column(hierarchy, &format!("{node}/{name}"))? {
            table.insert(name, column)?;
        }
    }
    Ok(table)
}

fn read_column(hierarchy: &Hierarchy, node: &str) -> Result<Option<Column>, IoError> {
    if hierarchy.has(&format!("{node}/codes")) {
        return read_categories(hierarchy, node).map(Some);
    }
    if !hierarchy.has(node) {
        return Err(IoError::missing(
            hierarchy.path(),
            node,
            "the table names this column",
        ));
    }
    let Ok(array) = RowArray::open(hierarchy, node) else {
        return Ok(None);
    };
    let all = 0..array.shape().first().copied().unwrap_or(0);
    let wide = |values: Vec<i64>| values.into_iter().map(|v| v as f64).collect::<Vec<f64>>();
    Ok(match array.dtype().as_str() {
        "string" => {
            let mut texts = TextColumn::new();
            read_strings(hierarchy, node, |t| texts.push(t))?;
            Some(texts.into())
        }
        "bool" => Some(array.read_rows::<bool>(all)?.into()),
        "float64" => Some(array.read_rows::<f64>(all)?.into()),
        "float32" => Some(
            array
                .read_rows::<f32>(all)?
                .into_iter()
                .map(f64::from)
                .collect::<Vec<_>>()
                .into(),
        ),
        "int64" => Some(wide(array.read_rows::<i64>(all)?).into()),
        "int32" => Some(
            array
                .read_rows::<i32>(all)?
                .into_iter()
                .map(f64::from)
                .collect::<Vec<_>>()
                .into(),
        ),
        _ => None,
    })
}

fn read_categories(hierarchy: &Hierarchy, node: &str) -> Result<Column, IoError> {
    let mut categories = Vec::new();
    read_strings(hierarchy, &format!("{node}/categories"), |t| {
        categories.push(t.to_string());
        Ok(())
    })?;
    let codes = RowArray::open(hierarchy, &format!("{node}/codes"))?;
    let all = 0..codes.shape().first().copied().unwrap_or(0);
    // AnnData picks the smallest integer type; -1 is a missing value.
    let codes: Vec<i64> = match codes.dtype().as_str() {
        "int8" => codes
            .read_rows::<i8>(all)?
            .into_iter()
            .map(i64::from)
            .collect(),
        "int16" => codes
            .read_rows::<i16>(all)?
            .into_iter()
            .map(i64::from)
            .collect(),
        "int32" => codes
            .read_rows::<i32>(all)?
            .into_iter()
            .map(i64::from)
            .collect(),
        _ => codes.read_rows::<i64>(all)?,
    };
    let text = |code: &i64| {
        usize::try_from(*code)
            .ok()
            .and_then(|c| categories.get(c))
            .map_or("", String::as_str)
    };
    Ok(TextColumn::from_texts(codes.iter().map(text))?.into())
}
