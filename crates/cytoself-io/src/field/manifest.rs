//! The list of fields: `manifest.csv`.

use std::path::{Path, PathBuf};

use crate::table::text_or_error;
use crate::{CropTable, IoError};

/// One field of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldSpec {
    /// Row of the manifest, counted from 0.
    pub row: usize,
    /// One file with all channels, or one file per channel.
    pub paths: Vec<PathBuf>,
    /// The tagged protein.
    pub protein: String,
    /// Name of the field, unique within the manifest.
    pub fov: String,
    /// Plate or imaging round; empty if not given.
    pub plate: String,
    /// Channel names by page or plane order; empty if not given.
    pub channels: Vec<String>,
    /// Size of a pixel, um; overrules the file.
    pub pixel_size_um: Option<f64>,
    /// Distance of slices, um; overrules the file.
    pub z_step_um: Option<f64>,
    /// Localisation label; empty if not given.
    pub localization: String,
}

/// A table of fields with the columns `path,protein,fov,plate,channels,pixel_size_um,z_step_um,localization`, of which all but `path` and
/// `protein` may be missing; further columns are kept in [`Manifest::table`].
///
/// `path` is relative to the manifest and may name one file per channel, separated by semicolons; `channels` names the channels in
/// page or plane order, also separated by semicolons.
#[derive(Debug, Clone)]
pub struct Manifest {
    path: PathBuf,
    table: CropTable,
    fields: Vec<FieldSpec>,
}

impl Manifest {
    /// Reads the manifest at `path`; the images themselves are not looked at.
    ///
    /// # Errors
    /// - the file cannot be read, lacks the column `path` or `protein`, or has no rows;
    /// - a row has no path or no protein, or a pixel size or step that is not a positive number;
    /// - a row has several files and another number of channel names;
    /// - two rows have the same `fov`.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let table = CropTable::from_csv(path)?;
        text_or_error(path, &table, "path")?;
        text_or_error(path, &table, "protein")?;
        if table.is_empty() {
            let hint = "list one field per line: path,protein,fov,plate,channels,pixel_size_um,z_step_um,localization";
            return Err(IoError::malformed(
                path,
                "rows",
                "at least one field",
                "none",
                hint,
            ));
        }
        let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let fields: Vec<FieldSpec> = (0..table.len())
            .map(|row| field(path, &base, &table, row))
            .collect::<Result<_, _>>()?;
        let mut seen = std::collections::HashMap::new();
        for field in &fields {
            if let Some(first) = seen.insert(field.fov.as_str(), field.row) {
                let found = format!("{}, as in row {first}", field.fov);
                let hint = "fill in the column fov";
                return Err(IoError::malformed(
                    path,
                    format!("row {}, column fov", field.row),
                    "a name of its own",
                    found,
                    hint,
                ));
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            table,
            fields,
        })
    }

    /// The fields, by row.
    #[must_use]
    pub fn fields(&self) -> &[FieldSpec] {
        &self.fields
    }

    /// All columns, by row.
    #[must_use]
    pub fn table(&self) -> &CropTable {
        &self.table
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in `column` of `row`, relative to the manifest: e.g. the label image of a field. `None` if the column or value is missing.
    #[must_use]
    pub fn path_in(&self, column: &str, row: usize) -> Option<PathBuf> {
        let text = self.table.text(column)?.get(row);
        (!text.is_empty()).then(|| self.path.parent().unwrap_or(Path::new("")).join(text))
    }
}

fn field(path: &Path, base: &Path, table: &CropTable, row: usize) -> Result<FieldSpec, IoError> {
    let text = |column: &str| table.text(column).map_or("", |c| c.get(row).trim());
    let fault = |column: &str, expected: &str, found: &str| {
        IoError::malformed(
            path,
            format!("row {row}, column {column}"),
            expected,
            found,
            "",
        )
    };
    let list = |column: &str| -> Vec<String> {
        text(column)
            .split(';')
            .map(|p| p.trim().to_string())
            .filter(|p| !p.is_empty())
            .collect()
    };
    let files = list("path");
    if files.is_empty() {
        return Err(fault("path", "a file", "nothing"));
    }
    if text("protein").is_empty() {
        return Err(fault("protein", "a name", "nothing"));
    }
    let channels = list("channels");
    if files.len() > 1 && !channels.is_empty() && channels.len() != files.len() {
        let found = format!("{} names ({})", channels.len(), channels.join(";"));
        return Err(fault(
            "channels",
            &format!("{} names, one per file", files.len()),
            &found,
        ));
    }
    let size = |column: &str| match table.number(column) {
        Some(values) => match values[row] {
            v if v.is_nan() => Ok(None),
            v if v.is_finite() && v > 0.0 => Ok(Some(v)),
            v => Err(fault(column, "a positive number", &v.to_string())),
        },
        None if text(column).is_empty() => Ok(None),
        None => text(column)
            .parse::<f64>()
            .ok()
            .filter(|v| v.is_finite() && *v > 0.0)
            .map(Some)
            .ok_or_else(|| fault(column, "a positive number", text(column))),
    };
    let fov = match text("fov") {
        "" => stem(&files[0]),
        fov => fov.to_string(),
    };
    Ok(FieldSpec {
        row,
        paths: files.iter().map(|f| base.join(f)).collect(),
        protein: text("protein").to_string(),
        fov,
        plate: text("plate").to_string(),
        channels,
        pixel_size_um: size("pixel_size_um")?,
        z_step_um: size("z_step_um")?,
        localization: text("localization").to_string(),
    })
}

/// The path without its ending, so that fields in different folders have different names.
fn stem(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    let ending = [".ome.tiff", ".ome.tif", ".tiff", ".tif", ".png"]
        .iter()
        .find(|e| name.to_ascii_lowercase().ends_with(**e));
    file[..file.len() - ending.map_or(0, |e| e.len())].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Result<Manifest, IoError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.csv");
        std::fs::write(&path, text).unwrap();
        Manifest::open(&path)
    }

    #[test]
    fn columns_may_be_missing_or_more() {
        let m = open("path,protein,channels,pixel_size_um,gene\nplate 1/a.OME.tif,ATL2,nuc;pro,0.206,x\nb.png;c.png,P,nuc;pro,,y\n").unwrap();
        let [a, b] = m.fields() else {
            panic!("two fields")
        };
        assert_eq!(
            (a.fov.as_str(), a.pixel_size_um),
            ("plate 1/a", Some(0.206))
        );
        assert_eq!((b.paths.len(), b.pixel_size_um), (2, None));
        assert_eq!(b.channels, ["nuc", "pro"]);
        assert_eq!(m.table().text("gene").unwrap().get(1), "y");
    }

    #[test]
    fn each_fault_names_its_row() {
        for (text, expected) in [
            ("path,protein\n", "at least one field"),
            ("path\na.tif\n", "a column protein"),
            ("path,protein\na.tif,A\n,A\n", "row 1, column path"),
            ("path,protein\na.tif,\n", "row 0, column protein"),
            (
                "path,protein,channels\na.png;b.png,A,nuc\n",
                "2 names, one per file",
            ),
            ("path,protein,fov\na.tif,A,1\nb.tif,A,1\n", "1, as in row 0"),
            (
                "path,protein,z_step_um\na.tif,A,-1\n",
                "a positive number, found -1",
            ),
            (
                "path,protein,z_step_um\na.tif,A,wide\n",
                "a positive number, found wide",
            ),
        ] {
            let error = open(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
