//! Dictionary-encoded text.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::IoError;

/// A column of text: each distinct value once, and a 32-bit code per row.
///
/// # Example
/// ```
/// use cytoself_io::TextColumn;
/// let column = TextColumn::from_texts(["train", "test", "train"])?;
/// assert_eq!(column.codes(), [0, 1, 0]);
/// assert_eq!(column.categories().collect::<Vec<_>>(), ["train", "test"]);
/// assert_eq!(column.get(2), "train");
/// # Ok::<(), cytoself_io::IoError>(())
/// ```
#[derive(Clone, Default)]
pub struct TextColumn {
    codes: Vec<u32>,
    bytes: String,
    ends: Vec<usize>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl TextColumn {
    /// A column without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The texts in order, a row each.
    ///
    /// # Errors
    /// As [`TextColumn::push`].
    pub fn from_texts<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, IoError> {
        let mut column = Self::new();
        for text in texts {
            column.push(text.as_ref())?;
        }
        Ok(column)
    }

    /// `rows` times the same text.
    #[must_use]
    pub fn repeat(text: &str, rows: usize) -> Self {
        let mut column = Self::new();
        if rows > 0 {
            column.add(text, 0);
            column.codes = vec![0; rows];
        }
        column
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The text of `row`; empty beyond the last row.
    #[must_use]
    pub fn get(&self, row: usize) -> &str {
        self.codes.get(row).map_or("", |&code| self.category(code))
    }

    /// The texts by row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.codes.iter().map(|&code| self.category(code))
    }

    /// The code of each row; codes count from 0 in the order of first appearance.
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// Number of distinct texts.
    #[must_use]
    pub fn category_count(&self) -> usize {
        self.ends.len()
    }

    /// The text of `code`; empty for a code that does not occur.
    #[must_use]
    pub fn category(&self, code: u32) -> &str {
        slice(&self.bytes, &self.ends, code)
    }

    /// The distinct texts, by code.
    pub fn categories(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.ends.len()).map(|code| self.category(code as u32))
    }

    /// The code of `text`, if it occurs.
    #[must_use]
    pub fn code_of(&self, text: &str) -> Option<u32> {
        self.index
            .find(self.hasher.hash_one(text), |&code| {
                self.category(code) == text
            })
            .copied()
    }

    /// Appends a row.
    ///
    /// # Errors
    /// - the column has 2^32 distinct texts and this is another one.
    pub fn push(&mut self, text: &str) -> Result<(), IoError> {
        let code = self.intern(text)?;
        self.codes.push(code);
        Ok(())
    }

    /// The code of `text`, which is added if it is new.
    fn intern(&mut self, text: &str) -> Result<u32, IoError> {
        if let Some(code) = self.code_of(text) {
            return Ok(code);
        }
        let code = next_code(self.ends.len())?;
        self.add(text, code);
        Ok(code)
    }

    /// Adds a text that the column does not have; `code` is the number of those it has.
    fn add(&mut self, text: &str, code: u32) {
        let Self {
            bytes,
            ends,
            index,
            hasher,
            ..
        } = self;
        let hash = hasher.hash_one(text);
        bytes.push_str(text);
        ends.push(bytes.len());
        index.insert_unique(hash, code, |&code| {
            hasher.hash_one(slice(bytes, ends, code))
        });
    }

    /// Appends the rows of `other`.
    ///
    /// # Errors
    /// As [`TextColumn::push`]; the column is then as it was, but for texts that no row has.
    pub fn extend(&mut self, other: &Self) -> Result<(), IoError> {
        let map: Vec<u32> = other
            .categories()
            .map(|text| self.intern(text))
            .collect::<Result<_, _>>()?;
        self.codes
            .extend(other.codes.iter().map(|&code| map[code as usize]));
        Ok(())
    }

    /// Rows that the caller has checked; texts that no longer occur are left out.
    pub(super) fn select(&self, rows: &[usize]) -> Self {
        let mut map = vec![None; self.ends.len()];
        let mut picked = Self {
            codes: Vec::with_capacity(rows.len()),
            ..Self::default()
        };
        for &row in rows {
            let old = self.codes[row];
            let code = *map[old as usize].get_or_insert_with(|| {
                // There are no more texts than here, where each has a code.
                let code = picked.ends.len() as u32;
                picked.add(self.category(old), code);
                code
            });
            picked.codes.push(code);
        }
        picked
    }

    /// Codes and distinct texts in alphabetical order.
    #[must_use]
    pub fn sorted(&self) -> Self {
        let mut order: Vec<u32> = (0..self.ends.len() as u32).collect();
        order.sort_unstable_by_key(|&code| self.category(code));
        let mut sorted = Self::new();
        let mut map = vec![0; order.len()];
        for (new, &old) in (0..).zip(&order) {
            sorted.add(self.category(old), new);
            map[old as usize] = new;
        }
        sorted.codes = self.codes.iter().map(|&code| map[code as usize]).collect();
        sorted
    }
}

/// The code of a new text where there are `count` already.
fn next_code(count: usize) -> Result<u32, IoError> {
    u32::try_from(count).map_err(|_| {
        IoError::argument(
            "a column of text",
            "at most 2^32 distinct texts",
            "another one",
        )
    })
}

fn slice<'a>(bytes: &'a str, ends: &[usize], code: u32) -> &'a str {
    let code = code as usize;
    let Some(&end) = ends.get(code) else {
        return "";
    };
    let start = if code == 0 { 0 } else { ends[code - 1] };
    &bytes[start..end]
}

impl std::fmt::Debug for TextColumn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextColumn")
            .field("rows", &self.len())
            .field("categories", &self.category_count())
            .finish()
    }
}

impl PartialEq for TextColumn {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_keeps_the_rows() {
        let column = TextColumn::from_texts(["b", "a", "", "b"]).unwrap();
        let sorted = column.sorted();
        assert_eq!(sorted, column);
        assert_eq!(sorted.categories().collect::<Vec<_>>(), ["", "a", "b"]);
        assert_eq!(sorted.codes(), [2, 1, 0, 2]);
        assert_eq!(sorted.code_of("a"), Some(1));
        assert_eq!(sorted.code_of("z"), None);
    }

    #[test]
    fn the_last_code_is_the_last() {
        assert_eq!(next_code(u32::MAX as usize).unwrap(), u32::MAX);
        let error = next_code(1 << 32).unwrap_err().to_string();
        assert!(error.contains("2^32"), "{error}");
    }

    #[test]
    fn a_selection_forgets_unused_texts() {
        let column = TextColumn::from_texts((0..100).map(|i| i.to_string())).unwrap();
        let picked = column.select(&[7, 7, 3]);
        assert_eq!(picked.category_count(), 2);
        assert_eq!(picked.iter().collect::<Vec<_>>(), ["7", "7", "3"]);
    }
}
