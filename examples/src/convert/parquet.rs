//! Embeddings as a Parquet table: the columns of the crop table, then those of arrays.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use cytoself_io::{Column, CropTable, EmbeddingStore};
use ndarray::Array2;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use crate::cli::Failure;

/// Rows per group: what a writer and a reader hold in memory at once.
const GROUP: usize = 1 << 14;

/// Writes the crop table and the named arrays, group by group.
pub(super) fn write(path: &Path, store: &EmbeddingStore, arrays: &[&str]) -> Result<(), Failure> {
    let at = |e: ParquetError| match e {
        ParquetError::External(inner) => Failure::other(inner).context(path.display()),
        other => Failure::other(other).context(path.display()),
    };
    let file = File::create(path).map_err(|e| Failure::from(e).context(path.display()))?;
    let schema = schema(store, arrays)?;
    let made = store
        .made_all()
        .map(|(k, v)| KeyValue::new(k.to_string(), v.to_string()))
        .collect();
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(made))
        .build();
    let mut writer =
        SerializedFileWriter::new(file, schema.map_err(at)?, Arc::new(properties)).map_err(at)?;
    for start in (0..store.len()).step_by(GROUP) {
        let rows = start..store.len().min(start + GROUP);
        let mut group = writer.next_row_group().map_err(at)?;
        write_table(&mut group, store.obs(), rows.clone()).map_err(at)?;
        for name in arrays {
            let block = store.dense_rows(name, rows.clone())?;
            write_array(&mut group, &block).map_err(at)?;
        }
        group.close().map_err(at)?;
    }
    writer.close().map_err(at)?;
    Ok(())
}

type Schema = Result<TypePtr, ParquetError>;

fn schema(store: &EmbeddingStore, arrays: &[&str]) -> Result<Schema, Failure> {
    let mut fields = Vec::new();
    for name in store.obs().columns() {
        let (physical, logical) = match store.obs().column(name) {
            Some(Column::Text(_)) | None => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Some(Column::Number(_)) => (Physical::DOUBLE, None),
            Some(Column::Flag(_)) => (Physical::BOOLEAN, None),
        };
        fields.push(field(name, physical, logical));
    }
    for name in arrays {
        for column in 0..store.width(name)? {
            fields.push(field(&format!("{name}_{column}"), Physical::FLOAT, None));
        }
    }
    let fields: Result<Vec<TypePtr>, ParquetError> = fields.into_iter().collect();
    Ok(fields.and_then(|fields| {
        Type::group_type_builder("crops")
            .with_fields(fields)
            .build()
            .map(Arc::new)
    }))
}

fn field(name: &str, physical: Physical, logical: Option<LogicalType>) -> Schema {
    let builder =
        Type::primitive_type_builder(name, physical).with_repetition(Repetition::REQUIRED);
    builder.with_logical_type(logical).build().map(Arc::new)
}

fn write_table(
    group: &mut SerializedRowGroupWriter<'_, File>,
    table: &CropTable,
    rows: Range<usize>,
) -> Result<(), ParquetError> {
    for column in table.columns().filter_map(|name| table.column(name)) {
        let mut cell = group
            .next_column()?
            .ok_or_else(|| ParquetError::General("a column is missing".into()))?;
        match column {
            Column::Text(texts) => {
                let values: Vec<ByteArray> = rows
                    .clone()
                    .map(|row| ByteArray::from(texts.get(row)))
                    .collect();
                cell.typed::<ByteArrayType>()
                    .write_batch(&values, None, None)?
            }
            Column::Number(numbers) => {
                cell.typed::<DoubleType>()
                    .write_batch(&numbers[rows.clone()], None, None)?
            }
            Column::Flag(flags) => {
                cell.typed::<BoolType>()
                    .write_batch(&flags[rows.clone()], None, None)?
            }
        };
        cell.close()?;
    }
    Ok(())
}

fn write_array(
    group: &mut SerializedRowGroupWriter<'_, File>,
    block: &Array2<f32>,
) -> Result<(), ParquetError> {
    for column in block.columns() {
        let mut cell = group
            .next_column()?
            .ok_or_else(|| ParquetError::General("a column is missing".into()))?;
        cell.typed::<FloatType>()
            .write_batch(&column.to_vec(), None, None)?;
        cell.close()?;
    }
    Ok(())
}
