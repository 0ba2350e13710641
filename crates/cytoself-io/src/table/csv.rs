//! Tables as CSV.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder, WriterBuilder};

use super::{Column, ColumnKind, CropTable, TextColumn, Value};
use crate::IoError;

/// Columns that are text even where every value looks like a number.
const TEXT_COLUMNS: [&str; 13] = [
    "crop",
    "protein",
    "fov",
    "plate",
    "split",
    "localization",
    "ensg",
    "name",
    "protein_id",
    "FOV_id",
    "loc_grade1",
    "loc_grade2",
    "loc_grade3",
];

impl CropTable {
    /// Reads a CSV file with a header line.
    ///
    /// A column is numeric if each of its values is a number or empty (and one is not empty), a flag if each is `true` or `false`,
    /// and text otherwise; names such as `crop`, `protein`, `fov`, `plate`, `split` and `localization` are always text, and so is a
    /// column with a number such as `007`.
    ///
    /// # Errors
    /// - the file cannot be read;
    /// - it has no header, two columns of the same name, or text that is not UTF-8;
    /// - a row has more or fewer values than the header.
    pub fn from_csv(path: &Path) -> Result<Self, IoError> {
        let open = || File::open(path).map_err(|e| IoError::file(path, e));
        let kinds = infer(path, open()?)?;
        fill(path, open()?, kinds)
    }

    /// Writes the table as CSV with a header line; numbers are written so that they read back as the same bits.
    ///
    /// # Errors
    /// - the file cannot be written.
    pub fn to_csv(&self, path: &Path) -> Result<(), IoError> {
        let error = |e| IoError::file(path, e);
        let file = File::create(path).map_err(error)?;
        let mut out = BufWriter::with_capacity(1 << 18, file);
        self.write_csv(&mut out, true).map_err(error)?;
        out.flush().map_err(error)
    }

    /// Writes the rows as CSV, with or without the header line, so that a table can be written in parts.
    ///
    /// # Errors
    /// - the writer fails.
    pub fn write_csv(&self, out: &mut impl Write, header: bool) -> std::io::Result<()> {
        let mut writer = WriterBuilder::new().from_writer(out);
        if header {
            writer.write_record(self.columns())?;
        }
        for row in 0..self.len() {
            for (_, column) in &self.columns {
                match column.value(row) {
                    Some(Value::Text(text)) => writer.write_field(text)?,
                    Some(Value::Number(number)) if number.is_nan() => writer.write_field("")?,
                    Some(Value::Number(number)) => writer.write_field(number.to_string())?,
                    Some(Value::Flag(flag)) => {
                        writer.write_field(if flag { "true" } else { "false" })?
                    }
                    None => writer.write_field("")?,
                }
            }
            if !self.columns.is_empty() {
                writer.write_record(None::<&[u8]>)?;
            }
        }
        writer.flush()
    }
}

/// The error of a CSV reader as one of ours.
pub(crate) fn csv_error(path: &Path, error: csv::Error) -> IoError {
    let row = error.position().map(|p| p.line());
    match error.into_kind() {
        csv::ErrorKind::Io(e) => IoError::file(path, e),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => IoError::malformed(
            path,
            format!("line {}", row.unwrap_or(0)),
            format!("{expected_len} values as in the first line"),
            len,
            "quote values that hold a comma",
        ),
        csv::ErrorKind::Utf8 { err, .. } => IoError::malformed(
            path,
            format!("line {}", row.unwrap_or(0)),
            "UTF-8 text",
            err,
            "save the file as UTF-8",
        ),
        other => IoError::malformed(
            path,
            format!("line {}", row.unwrap_or(0)),
            "CSV",
            format!("{other:?}"),
            "",
        ),
    }
}

/// A buffered CSV reader without its byte order mark handled by the csv crate.
pub(crate) fn reader<R: Read>(source: R) -> csv::Reader<BufReader<R>> {
    ReaderBuilder::new()
        .has_headers(true)
        .from_reader(BufReader::with_capacity(1 << 18, source))
}

#[derive(Clone, Copy, Default)]
struct Seen {
    text: bool,
    number: bool,
    flag: bool,
}

impl Seen {
    fn kind(self, name: &str) -> ColumnKind {
        if TEXT_COLUMNS.contains(&name) || self.text || (self.number && self.flag) {
            ColumnKind::Text
        } else if self.number {
            ColumnKind::Number
        } else if self.flag {
            ColumnKind::Flag
        } else {
            ColumnKind::Text
        }
    }
}

fn infer(path: &Path, source: impl Read) -> Result<Vec<(String, ColumnKind)>, IoError> {
    let mut reader = reader(source);
    let header = reader.headers().map_err(|e| csv_error(path, e))?.clone();
    let names: Vec<&str> = header.iter().map(str::trim).collect();
    if names.iter().all(|n| n.is_empty()) {
        return Err(IoError::malformed(
            path,
            "line 1",
            "a header with column names",
            "nothing",
            "",
        ));
    }
    if let Some(twice) = names
        .iter()
        .enumerate()
        .find(|(i, n)| names[..*i].contains(n))
    {
        return Err(IoError::malformed(
            path,
            "line 1",
            "column names that differ",
            format!("{} twice", twice.1),
            "",
        ));
    }
    let mut seen = vec![Seen::default(); names.len()];
    let mut record = ByteRecord::new();
    while reader
        .read_byte_record(&mut record)
        .map_err(|e| csv_error(path, e))?
    {
        for (seen, value) in seen.iter_mut().zip(&record) {
            match value {
                b"" => {}
                b"true" | b"false" => seen.flag = true,
                _ if parse_number(value).is_some() => seen.number = true,
                _ => seen.text = true,
            }
        }
    }
    Ok(names
        .iter()
        .zip(seen)
        .map(|(name, seen)| ((*name).to_string(), seen.kind(name)))
        .collect())
}

fn fill(
    path: &Path,
    source: impl Read,
    kinds: Vec<(String, ColumnKind)>,
) -> Result<CropTable, IoError> {
    let mut columns: Vec<(String, Column)> = kinds
        .into_iter()
        .map(|(name, kind)| (name, Column::missing(kind, 0)))
        .collect();
    let mut reader = reader(source);
    let mut record = ByteRecord::new();
    let mut rows = 0;
    while reader
        .read_byte_record(&mut record)
        .map_err(|e| csv_error(path, e))?
    {
        for ((_, column), value) in columns.iter_mut().zip(&record) {
            match column {
                Column::Text(text) => text.push(utf8(path, rows, value)?)?,
                Column::Number(numbers) => numbers.push(parse_number(value).unwrap_or(f64::NAN)),
                Column::Flag(flags) => flags.push(value == b"true"),
            }
        }
        rows += 1;
    }
    Ok(CropTable { rows, columns })
}

fn utf8<'a>(path: &Path, row: usize, value: &'a [u8]) -> Result<&'a str, IoError> {
    std::str::from_utf8(value).map_err(|e| {
        IoError::malformed(
            path,
            format!("row {row}"),
            "UTF-8 text",
            e,
            "save the file as UTF-8",
        )
    })
}

/// A number, unless writing it back would lose what the text says (`007`).
fn parse_number(value: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(value).ok()?;
    if text == "NaN" || text == "nan" {
        return Some(f64::NAN);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    match digits {
        [b'0', b'0'..=b'9', ..] => None,
        [b'0'..=b'9' | b'.', ..] | b"inf" => text.parse().ok(),
        _ => None,
    }
}

/// A text column of a CSV file whose header names it, for small tables with known columns.
pub(crate) fn text_or_error<'a>(
    path: &Path,
    table: &'a CropTable,
    name: &str,
) -> Result<&'a TextColumn, IoError> {
    table.text(name).ok_or_else(|| {
        let found = table.columns().collect::<Vec<_>>().join(",");
        IoError::malformed(path, "line 1", format!("a column {name}"), found, "")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_keeps_types_and_bits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let mut table = CropTable::new();
        table
            .push(&[
                ("crop", "a, \"b\"\nc".into()),
                ("plate", "12".into()),
                ("y", (0.1 + 0.2).into()),
                ("ok", true.into()),
            ])
            .unwrap();
        table
            .push(&[("crop", "ü".into()), ("y", 1e-300.into())])
            .unwrap();
        table.to_csv(&path).unwrap();
        let back = CropTable::from_csv(&path).unwrap();
        assert_eq!(back, table);
    }

    #[test]
    fn kinds_are_inferred_from_all_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(
            &path,
            "well,n,mixed,flag,empty\n007,1,2,true,\n008,,x,false,\n",
        )
        .unwrap();
        let table = CropTable::from_csv(&path).unwrap();
        assert_eq!(table.text("well").unwrap().get(0), "007");
        assert!(table.number("n").unwrap()[1].is_nan());
        assert_eq!(table.text("mixed").unwrap().get(0), "2");
        assert_eq!(table.flag("flag").unwrap(), [true, false]);
        assert_eq!(table.column("empty").unwrap().kind(), ColumnKind::Text);
    }

    #[test]
    fn faults_name_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "a,b\n1,2\n3\n").unwrap();
        let text = CropTable::from_csv(&path).unwrap_err().to_string();
        assert!(
            text.contains("line 3") && text.contains("2 values"),
            "{text}"
        );
        std::fs::write(&path, "a,a\n1,2\n").unwrap();
        assert!(
            CropTable::from_csv(&path)
                .unwrap_err()
                .to_string()
                .contains("a twice")
        );
        std::fs::write(&path, "").unwrap();
        assert!(CropTable::from_csv(&path).is_err());
    }
}
