//! A crop table as a Parquet file.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use cytoself_io::{Column, CropTable};
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

use crate::cli::Failure;

/// Rows per group: a group is what a reader holds in memory at once.
const GROUP: usize = 1 << 17;

/// Writes a table; text is dictionary-encoded, `made` goes into the file's metadata.
///
/// # Errors
/// - the file cannot be written.
pub fn write(path: &Path, table: &CropTable, made: &[(String, String)]) -> Result<(), Failure> {
    let file = File::create(path).map_err(|e| Failure::from(e).context(path.display()))?;
    write_table(file, table, made).map_err(|e| match e {
        ParquetError::External(inner) => Failure::other(inner).context(path.display()),
        other => Failure::other(other).context(path.display()),
    })
}

fn write_table(
    file: File,
    table: &CropTable,
    made: &[(String, String)],
) -> Result<(), ParquetError> {
    let columns: Vec<(&str, &Column)> = table
        .columns()
        .filter_map(|name| Some((name, table.column(name)?)))
        .collect();
    let fields = columns
        .iter()
        .map(|(name, column)| field(name, column))
        .collect::<Result<_, _>>()?;
    let schema = Arc::new(
        Type::group_type_builder("crops")
            .with_fields(fields)
            .build()?,
    );
    let metadata = made
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
        .collect();
    let properties = Arc::new(
        WriterProperties::builder()
            .set_key_value_metadata(Some(metadata))
            .build(),
    );
    let mut writer = SerializedFileWriter::new(file, schema, properties)?;
    for start in (0..table.len()).step_by(GROUP) {
        let rows = start..(start + GROUP).min(table.len());
        let mut group = writer.next_row_group()?;
        for (_, column) in &columns {
            let mut cell = group
                .next_column()?
                .ok_or_else(|| ParquetError::General("a column is missing".into()))?;
            write_column(&mut cell, column, rows.clone())?;
            cell.close()?;
        }
        group.close()?;
    }
    writer.close().map(|_| ())
}

fn field(name: &str, column: &Column) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match column {
        Column::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Column::Number(_) => (Physical::DOUBLE, None),
        Column::Flag(_) => (Physical::BOOLEAN, None),
    };
    let field = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(logical)
        .build()?;
    Ok(Arc::new(field))
}

fn write_column(
    cell: &mut SerializedColumnWriter<'_>,
    column: &Column,
    rows: std::ops::Range<usize>,
) -> Result<(), ParquetError> {
    match column {
        Column::Text(text) => {
            let categories: Vec<ByteArray> = text.categories().map(ByteArray::from).collect();
            let values: Vec<ByteArray> = text.codes()[rows]
                .iter()
                .map(|&code| categories[code as usize].clone())
                .collect();
            cell.typed::<ByteArrayType>()
                .write_batch(&values, None, None)
        }
        Column::Number(numbers) => {
            cell.typed::<DoubleType>()
                .write_batch(&numbers[rows], None, None)
        }
        Column::Flag(flags) => cell
            .typed::<BoolType>()
            .write_batch(&flags[rows], None, None),
    }
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cytoself_io::Value;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    #[test]
    fn a_table_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let mut table = CropTable::new();
        for (protein, y) in [("A", 1.5), ("B", 2.5), ("A", 3.5)] {
            table
                .push(&[
                    ("protein", Value::Text(protein)),
                    ("y", Value::Number(y)),
                    ("kept", Value::Flag(y > 2.0)),
                ])
                .unwrap();
        }
        write(&path, &table, &[("seed".to_string(), "42".to_string())]).unwrap();
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        let rows: Vec<String> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| row.unwrap().to_string())
            .collect();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[1], "{protein: \"B\", y: 2.5, kept: true}");
        let metadata = reader
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .unwrap();
        assert!(
            metadata
                .iter()
                .any(|pair| pair.key == "seed" && pair.value.as_deref() == Some("42"))
        );
    }
}
