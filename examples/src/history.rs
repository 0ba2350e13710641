//! The histories of several trainings beside each other.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::{Common, Failure};
use crate::output::Output;
use crate::plot::{self, Curves};

/// The table that a training writes.
const FILE: &str = "history.csv";

/// Which curves of which trainings.
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// Model folders
    #[arg(long, value_name = "DIR", num_args = 1.., required = true)]
    pub models: Vec<PathBuf>,
    /// Names of the models in the picture, comma-separated [default: the folders' names]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub names: Vec<String>,
    /// Columns of history.csv, comma-separated, a panel each
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "val_perplexity1,val_perplexity2"
    )]
    pub columns: Vec<String>,
    /// Picture to write (.png or .svg)
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Draws the curves.
///
/// # Errors
/// - a folder has no history, or its history lacks a column;
/// - there are not as many names as models;
/// - the picture exists and `--overwrite` is not given, or cannot be written.
pub fn history(args: &HistoryArgs, common: &Common) -> Result<(), Failure> {
    let names = names(args)?;
    let tables: Vec<Table> = args
        .models
        .iter()
        .map(|folder| Table::read(&folder.join(FILE)))
        .collect::<Result<_, _>>()?;
    let mut curves = Curves::new();
    for column in &args.columns {
        let values = tables.iter().map(|t| t.column(column));
        let values: Vec<Vec<f64>> = values.collect::<Result<_, _>>()?;
        let lines: Vec<(&str, Vec<f64>)> = names.iter().map(String::as_str).zip(values).collect();
        curves = curves.panel(column, &lines);
    }
    let output = Output::file(&args.output, common.overwrite)?;
    plot::save_as(&curves, output.path(), &args.output)?;
    output.commit()?;
    common.say(format!("wrote {}", args.output.display()));
    Ok(())
}

fn names(args: &HistoryArgs) -> Result<Vec<String>, Failure> {
    if args.names.is_empty() {
        let name = |folder: &PathBuf| {
            let last = folder.file_name().unwrap_or(folder.as_os_str());
            last.to_string_lossy().into_owned()
        };
        return Ok(args.models.iter().map(name).collect());
    }
    if args.names.len() == args.models.len() {
        return Ok(args.names.clone());
    }
    Err(Failure::input(format!(
        "--names: expected {} names, one per model, found {}",
        args.models.len(),
        args.names.len()
    )))
}

/// A history as text.
struct Table {
    path: PathBuf,
    header: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Table {
    fn read(path: &Path) -> Result<Self, Failure> {
        let context = |e: csv::Error| {
            Failure::input(format!(
                "{}: {e}; give model folders that train wrote",
                path.display()
            ))
        };
        let mut reader = csv::Reader::from_path(path).map_err(context)?;
        let header = reader.headers().map_err(context)?;
        Ok(Self {
            path: path.to_path_buf(),
            header: header.iter().map(String::from).collect(),
            rows: reader
                .records()
                .collect::<Result<_, _>>()
                .map_err(context)?,
        })
    }

    fn column(&self, name: &str) -> Result<Vec<f64>, Failure> {
        let Some(at) = self.header.iter().position(|h| h == name) else {
            return Err(Failure::input(format!(
                "{}: there is no column {name}; there are {}",
                self.path.display(),
                self.header.join(", ")
            )));
        };
        let value = |(row, record): (usize, &csv::StringRecord)| {
            let text = record.get(at).unwrap_or_default();
            text.parse().map_err(|_| {
                Failure::input(format!(
                    "{}: row {}, column {name}: expected a number, found {text:?}",
                    self.path.display(),
                    row + 2
                ))
            })
        };
        self.rows.iter().enumerate().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn common() -> Common {
        Common {
            threads: None,
            seed: 1,
            quiet: true,
            overwrite: false,
        }
    }

    fn folder(dir: &Path, name: &str, text: &str) -> PathBuf {
        let folder = dir.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(FILE), text).unwrap();
        folder
    }

    #[test]
    fn two_trainings_in_one_picture() {
        let dir = tempfile::tempdir().unwrap();
        let models = vec![
            folder(dir.path(), "a", "loss,val_perplexity2\n3,10\n2,NaN\n1,30\n"),
            folder(dir.path(), "b", "val_perplexity2\n5\n"),
        ];
        let args = HistoryArgs {
            models,
            names: Vec::new(),
            columns: vec!["val_perplexity2".to_string()],
            output: dir.path().join("p.svg"),
        };
        history(&args, &common()).unwrap();
        let picture = fs::read_to_string(&args.output).unwrap();
        assert!(picture.contains("val_perplexity2") && picture.contains("epoch"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let args = |models: Vec<PathBuf>, names: &[&str], column: &str| HistoryArgs {
            models,
            names: names.iter().map(|n| (*n).to_string()).collect(),
            columns: vec![column.to_string()],
            output: dir.path().join("p.png"),
        };
        let a = folder(dir.path(), "a", "loss\n3\nx\n");
        for (arguments, expected) in [
            (args(vec![a.clone()], &["a", "b"], "loss"), "--names"),
            (
                args(vec![a.clone()], &[], "lr"),
                "no column lr; there are loss",
            ),
            (args(vec![a], &[], "loss"), "row 3, column loss"),
            (
                args(vec![dir.path().join("none")], &[], "loss"),
                "history.csv",
            ),
        ] {
            let error = history(&arguments, &common()).unwrap_err();
            assert!(
                matches!(&error, Failure::Input(m) if m.contains(expected)),
                "{error:?}"
            );
        }
    }
}
