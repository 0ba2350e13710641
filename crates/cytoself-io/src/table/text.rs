//! Dictionary-encoded text.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// A column of text: each distinct value once, and a 32-bit code per row.
///
/// # Example
/// ```
/// use cytoself_io::TextColumn;
/// let column: TextColumn = ["train", "test", "train"].into_iter().collect();
/// assert_eq!(column.codes(), [0, 1, 0]);
/// assert_eq!(column.categories().collect::<Vec<_>>(), ["train", "test"]);
/// assert_eq!(column.get(2), "train");
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

    /// `rows` times the same text.
    #[must_use]
    pub fn repeat(text: &str, rows: usize) -> Self {
        let mut column = Self::new();
        if rows > 0 {
            let code = column.intern(text);
            column.codes = vec![code; rows];
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
    /// # Panics
    /// With more than 2^32 distinct texts.
    pub fn push(&mut self, text: &str) {
        let code = self.intern(text);
        self.codes.push(code);
    }

    fn intern(&mut self, text: &str) -> u32 {
        let Self {
            bytes,
            ends,
            index,
            hasher,
            ..
        } = self;
        let hash = hasher.hash_one(text);
        if let Some(&code) = index.find(hash, |&code| slice(bytes, ends, code) == text) {
            return code;
        }
        let code = u32::try_from(ends.len()).expect("fewer than 2^32 distinct texts");
        bytes.push_str(text);
        ends.push(bytes.len());
        index.insert_unique(hash, code, |&code| {
            hasher.hash_one(slice(bytes, ends, code))
        });
        code
    }

    /// Appends the rows of `other`.
    pub fn extend(&mut self, other: &Self) {
        let map: Vec<u32> = other.categories().map(|text| self.intern(text)).collect();
        self.codes
            .extend(other.codes.iter().map(|&code| map[code as usize]));
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
            let slot = &mut map[old as usize];
            let code = slot.unwrap_or_else(|| picked.intern(self.category(old)));
            *slot = Some(code);
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
        for &old in &order {
            map[old as usize] = sorted.intern(self.category(old));
        }
        sorted.codes = self.codes.iter().map(|&code| map[code as usize]).collect();
        sorted
    }
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

impl<S: AsRef<str>> FromIterator<S> for TextColumn {
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        let mut column = Self::new();
        texts
            .into_iter()
            .for_each(|text| column.push(text.as_ref()));
        column
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_keeps_the_rows() {
        let column: TextColumn = ["b", "a", "", "b"].into_iter().collect();
        let sorted = column.sorted();
        assert_eq!(sorted, column);
        assert_eq!(sorted.categories().collect::<Vec<_>>(), ["", "a", "b"]);
        assert_eq!(sorted.codes(), [2, 1, 0, 2]);
        assert_eq!(sorted.code_of("a"), Some(1));
        assert_eq!(sorted.code_of("z"), None);
    }

    #[test]
    fn a_selection_forgets_unused_texts() {
        let column: TextColumn = (0..100).map(|i| i.to_string()).collect();
        let picked = column.select(&[7, 7, 3]);
        assert_eq!(picked.category_count(), 2);
        assert_eq!(picked.iter().collect::<Vec<_>>(), ["7", "7", "3"]);
    }
}
