//! Adding results to an embedding store.
//!
//! What is new is written beside what it replaces and takes its place when it is complete.

use ndarray::ArrayView2;

use super::frame::{checked, write_column, write_frame};
use super::reader::EmbeddingStore;
use super::writer::matrix;
use crate::zarr::RowArray;
use crate::{Column, CropTable, IoError};

/// Where a part of `obs` is written until it is complete.
const PARTIAL: &str = "/.obs.partial";

impl EmbeddingStore {
    /// Writes an array into `obsm`, replacing one of the same name.
    ///
    /// # Errors
    /// - the array has another number of rows than there are crops, or no columns;
    /// - the store cannot be written.
    pub fn put_obsm(&mut self, name: &str, array: ArrayView2<'_, f32>) -> Result<(), IoError> {
        if array.nrows() != self.len() || array.ncols() == 0 {
            return Err(IoError::argument(
                format!("array {name}"),
                format!("{} rows", self.len()),
                format!("{:?}", array.shape()),
            ));
        }
        let node = format!("/obsm/{}", checked(name)?);
        let partial = format!("/obsm/.{name}.partial");
        self.hierarchy.erase(&partial)?;
        if let Err(error) = self.write_matrix(&partial, array) {
            // The first error says what is wrong; a second one here would say the same.
            let _ = self.hierarchy.erase(&partial);
            return Err(error);
        }
        self.arrays.remove(name);
        self.hierarchy.rename(&partial, &node)?;
        self.arrays
            .insert(name.to_string(), RowArray::open(&self.hierarchy, &node)?);
        Ok(())
    }

    fn write_matrix(&self, node: &str, array: ArrayView2<'_, f32>) -> Result<(), IoError> {
        let mut writer = matrix::<f32>(&self.hierarchy, node, array.ncols(), 4)?;
        for block in array.axis_chunks_iter(ndarray::Axis(0), 1 << 14) {
            writer.append(&block.iter().copied().collect::<Vec<f32>>())?;
        }
        writer.finish().map(|_| ())
    }

    /// Writes a column of `obs`, replacing one of the same name.
    ///
    /// # Errors
    /// - the column has another number of values than there are crops;
    /// - the store cannot be written.
    pub fn put_obs(&mut self, name: &str, column: impl Into<Column>) -> Result<(), IoError> {
        if checked(name)? == "crop" {
            return Err(IoError::argument("column", "any but the index", name));
        }
        self.obs.insert(name, column)?;
        self.hierarchy.erase(PARTIAL)?;
        write_column(&self.hierarchy, PARTIAL, name, &self.obs)?;
        let (from, to) = (format!("{PARTIAL}/{name}"), format!("/obs/{name}"));
        self.hierarchy.rename(&from, &to)?;
        self.hierarchy.erase(PARTIAL)?;
        let mut header = CropTable::new();
        for column in self.obs.columns() {
            header.insert(column, Column::missing(crate::ColumnKind::Text, 0))?;
        }
        let mut attributes = self.hierarchy.attributes("/obs")?;
        let order: Vec<&str> = header.columns().filter(|c| *c != "crop").collect();
        attributes.insert("column-order".into(), serde_json::json!(order));
        self.hierarchy.write_group("/obs", attributes)
    }

    /// Writes the whole table again, e.g. with corrected columns.
    ///
    /// # Errors
    /// - the table has another number of rows;
    /// - the store cannot be written.
    pub fn replace_obs(&mut self, table: CropTable) -> Result<(), IoError> {
        if table.len() != self.len() {
            return Err(IoError::argument(
                "table",
                format!("{} rows", self.len()),
                table.len(),
            ));
        }
        self.hierarchy.erase(PARTIAL)?;
        write_frame(&self.hierarchy, PARTIAL, &table)?;
        self.hierarchy.rename(PARTIAL, "/obs")?;
        self.obs = table;
        Ok(())
    }
}
