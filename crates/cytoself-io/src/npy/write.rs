//! Writing arrays, at once or in blocks of rows.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use ndarray::{ArrayRef, Dimension};

use super::element::Element;
use super::header::encode;
use crate::IoError;

/// Header length of files written in blocks: room for any number of rows.
const ROOM: usize = 192;

/// Writes `array` in row-major order as a version 1.0 file.
///
/// # Errors
/// - the file cannot be written.
pub fn write<T: Element, D: Dimension>(path: &Path, array: &ArrayRef<T, D>) -> Result<(), IoError> {
    let error = |e| IoError::file(path, e);
    let mut out = BufWriter::with_capacity(1 << 18, File::create(path).map_err(error)?);
    out.write_all(&encode(T::DESCR, array.shape(), 0))
        .map_err(error)?;
    let mut bytes = Vec::with_capacity(1 << 16);
    for &value in array {
        value.to_le(&mut bytes);
        if bytes.len() >= 1 << 16 {
            out.write_all(&bytes).map_err(error)?;
            bytes.clear();
        }
    }
    out.write_all(&bytes).map_err(error)?;
    out.flush().map_err(error)
}

/// Writes an array block by block along its first axis, in constant memory.
#[derive(Debug)]
pub struct NpyWriter<T> {
    path: PathBuf,
    out: BufWriter<File>,
    row: Vec<usize>,
    rows: usize,
    bytes: Vec<u8>,
    element: PhantomData<T>,
}

impl<T: Element> NpyWriter<T> {
    /// Starts a file whose rows have the shape `row`.
    ///
    /// # Errors
    /// - the file cannot be created.
    pub fn create(path: &Path, row: &[usize]) -> Result<Self, IoError> {
        let error = |e| IoError::file(path, e);
        let mut out = BufWriter::with_capacity(1 << 18, File::create(path).map_err(error)?);
        out.write_all(&vec![0; Self::header(row, 0).len()])
            .map_err(error)?;
        let path = path.to_path_buf();
        Ok(Self {
            path,
            out,
            row: row.to_vec(),
            rows: 0,
            bytes: Vec::new(),
            element: PhantomData,
        })
    }

    fn header(row: &[usize], rows: usize) -> Vec<u8> {
        let shape: Vec<usize> = std::iter::once(rows).chain(row.iter().copied()).collect();
        encode(T::DESCR, &shape, ROOM)
    }

    /// Appends whole rows, row-major.
    ///
    /// # Errors
    /// - `values` is not a whole number of rows;
    /// - the file cannot be written.
    pub fn append(&mut self, values: &[T]) -> Result<(), IoError> {
        let row: usize = self.row.iter().product();
        if row == 0 || !values.len().is_multiple_of(row) {
            return Err(IoError::argument(
                "values",
                format!("a multiple of {row}"),
                values.len(),
            ));
        }
        for block in values.chunks(1 << 14) {
            self.bytes.clear();
            block.iter().for_each(|v| v.to_le(&mut self.bytes));
            self.out
                .write_all(&self.bytes)
                .map_err(|e| IoError::file(&self.path, e))?;
        }
        self.rows += values.len() / row;
        Ok(())
    }

    /// Writes the header; until then the file is not an array. Returns the number of rows.
    ///
    /// # Errors
    /// - the file cannot be written.
    pub fn finish(mut self) -> Result<usize, IoError> {
        let header = Self::header(&self.row, self.rows);
        let error = |e| IoError::file(&self.path, e);
        self.out.seek(SeekFrom::Start(0)).map_err(error)?;
        self.out.write_all(&header).map_err(error)?;
        self.out.flush().map_err(error)?;
        Ok(self.rows)
    }
}
