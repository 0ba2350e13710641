//! Some crops of a source, as a source.

use cytoself_io::{
    CropSource, CropTable, IoError, Split, SplitParams, TextColumn, split_by_field, split_column,
};

use crate::cli::Failure;

/// Some crops of another source, with a table of their own.
pub struct Selection<'a> {
    source: &'a dyn CropSource,
    rows: Vec<usize>,
    table: CropTable,
}

impl<'a> Selection<'a> {
    /// At most `limit` crops, spread evenly over the table, each with its split: the table's, else 8:1:1 by field with
    /// `seed`. The split is drawn before crops are left out, so that it does not depend on `limit`.
    ///
    /// # Errors
    /// - the table names a split that does not exist.
    pub fn split(
        source: &'a dyn CropSource,
        limit: Option<usize>,
        seed: u64,
    ) -> Result<Self, Failure> {
        let splits = match split_column(source.table())? {
            Some(splits) => splits,
            None => split_by_field(source.table(), &SplitParams::default().seed(seed))?.0,
        };
        let rows = evenly(source.len(), limit.unwrap_or(usize::MAX));
        let mut table = source.table().select(&rows)?;
        let names = rows.iter().map(|&r| Split::as_str(splits[r]));
        table.insert("split", TextColumn::from_texts(names)?)?;
        Ok(Self {
            source,
            rows,
            table,
        })
    }
}

/// At most `limit` of the rows below `count`, evenly spread and in order.
#[must_use]
pub fn evenly(count: usize, limit: usize) -> Vec<usize> {
    let kept = count.min(limit.max(1));
    (0..kept).map(|at| at * count / kept).collect()
}

impl CropSource for Selection<'_> {
    fn table(&self) -> &CropTable {
        &self.table
    }

    fn channels(&self) -> &[String] {
        self.source.channels()
    }

    fn crop_shape(&self) -> [usize; 2] {
        self.source.crop_shape()
    }

    fn read_into(
        &self,
        rows: &[usize],
        channels: &[usize],
        out: &mut [f32],
    ) -> Result<(), IoError> {
        let inner: Vec<usize> = rows
            .iter()
            // A row that does not exist is refused by the source.
            .map(|&r| self.rows.get(r).copied().unwrap_or(usize::MAX))
            .collect();
        self.source.read_into(&inner, channels, out)
    }

    fn place(&self, row: usize, channel: usize) -> (std::path::PathBuf, usize) {
        self.source
            .place(self.rows.get(row).copied().unwrap_or(row), channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_spread() {
        assert_eq!(evenly(10, 4), [0, 2, 5, 7]);
        assert_eq!(evenly(3, 9), [0, 1, 2]);
        assert_eq!(evenly(0, 9), [0; 0]);
    }
}
