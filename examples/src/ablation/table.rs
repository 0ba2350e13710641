//! The table: mean and standard error of every score of every model.

use std::fmt::Write as _;
use std::path::Path;

use cytoself_eval::NestedMean;

use super::judge::SCORES;
use crate::cli::Failure;
use crate::output::Output;
use crate::plot::Measured;

/// Resamples of the intervals.
const RESAMPLES: usize = 2000;

/// The scores of one map against one truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The model's name.
    pub model: String,
    /// Which training, from 1.
    pub training: usize,
    /// Which map of it, from 1.
    pub map: usize,
    /// `organelles` or `complexes`.
    pub truth: String,
    /// Clustering score, robust and reference form, and macro F1 of the neighbours' vote on the map.
    pub scores: [f64; 3],
}

/// How intervals are drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableParams {
    pub(super) seed: u64,
}

/// A score of a model against a truth, over its trainings and maps.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The model's name.
    pub model: String,
    /// `organelles` or `complexes`.
    pub truth: String,
    /// The score's name.
    pub score: &'static str,
    /// Mean, interval and both standard errors.
    pub mean: NestedMean,
}

/// All scores and their means.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// One line per map and truth.
    pub cells: Vec<Cell>,
    /// One line per model, truth and score.
    pub rows: Vec<Row>,
    /// Mean seconds of a model's trainings.
    pub seconds: Vec<(String, f64)>,
}

impl Table {
    pub(super) fn new(
        cells: Vec<Cell>,
        seconds: Vec<(String, f64)>,
        params: TableParams,
    ) -> Result<Self, Failure> {
        let mut keys: Vec<(&str, &str)> = Vec::new();
        for cell in &cells {
            let key = (cell.model.as_str(), cell.truth.as_str());
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let mut rows = Vec::new();
        for (model, truth) in keys {
            for (at, score) in SCORES.into_iter().enumerate() {
                let own = cells
                    .iter()
                    .filter(|c| c.model == model && c.truth == truth);
                let mean = NestedMean::of(&by_training(own, at), RESAMPLES, params.seed)?;
                let (model, truth) = (model.to_string(), truth.to_string());
                rows.push(Row {
                    model,
                    truth,
                    score,
                    mean,
                });
            }
        }
        Ok(Self {
            cells,
            rows,
            seconds,
        })
    }

    /// A score of every model against both truths, for the regression; empty with one truth.
    #[must_use]
    pub fn measured(&self, score: &str) -> Vec<Measured> {
        let find = |model: &str, truth: &str| {
            let wanted = |r: &&Row| r.model == model && r.truth == truth && r.score == score;
            self.rows.iter().find(wanted).map(|r| r.mean)
        };
        let both = |(model, _): &(String, f64)| {
            let (x, y) = (find(model, "organelles")?, find(model, "complexes")?);
            Some(Measured {
                name: model.clone(),
                mean: [x.mean.value, y.mean.value],
                error: [x.standard_error, y.standard_error],
            })
        };
        self.seconds.iter().filter_map(both).collect()
    }

    /// The table for people: mean +- standard error over all maps, as in the paper.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut columns: Vec<(&str, &str)> = Vec::new();
        for row in &self.rows {
            let key = (row.truth.as_str(), row.score);
            if !columns.contains(&key) {
                columns.push(key);
            }
        }
        // Writing to a string cannot fail.
        let mut text = format!("{:<20}", "");
        for (truth, _) in &columns {
            let _ = write!(text, " {truth:>21}");
        }
        let _ = write!(text, "\n{:<20}", "model");
        for (_, score) in &columns {
            let _ = write!(text, " {score:>21}");
        }
        let _ = writeln!(text, " {:>9}", "seconds");
        for (model, seconds) in &self.seconds {
            let _ = write!(text, "{model:<20}");
            for (truth, score) in &columns {
                let wanted = |r: &&Row| &r.model == model && r.truth == *truth && r.score == *score;
                let cell = self.rows.iter().find(wanted).map_or(String::new(), |r| {
                    format!(
                        "{:.3} +- {}",
                        r.mean.mean.value,
                        number(r.mean.standard_error)
                    )
                });
                let _ = write!(text, " {cell:>21}");
            }
            let _ = writeln!(text, " {seconds:>9.0}");
        }
        text
    }

    /// Writes `scores.csv`, one line per map, and `table.csv`, one line per model, truth and score.
    ///
    /// # Errors
    /// - a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        let head = ["model", "training", "map", "truth"]
            .into_iter()
            .chain(SCORES);
        write_csv(
            &folder.join("scores.csv"),
            head,
            self.cells.iter().map(|c| {
                let place = [
                    c.model.clone(),
                    c.training.to_string(),
                    c.map.to_string(),
                    c.truth.clone(),
                ];
                place
                    .into_iter()
                    .chain(c.scores.map(|s| s.to_string()))
                    .collect()
            }),
        )?;
        let head = [
            "model",
            "truth",
            "score",
            "mean",
            "sem",
            "sem_of_trainings",
            "low",
            "high",
            "training_seconds",
        ];
        write_csv(
            &folder.join("table.csv"),
            head.into_iter(),
            self.rows.iter().map(|r| {
                let seconds = self
                    .seconds
                    .iter()
                    .find(|(m, _)| *m == r.model)
                    .map_or(f64::NAN, |s| s.1);
                let numbers = [
                    r.mean.mean.value,
                    r.mean.standard_error,
                    r.mean.model_standard_error,
                    r.mean.mean.low,
                    r.mean.mean.high,
                    seconds,
                ];
                let names = [r.model.clone(), r.truth.clone(), r.score.to_string()];
                names
                    .into_iter()
                    .chain(numbers.map(|n| {
                        if n.is_finite() {
                            n.to_string()
                        } else {
                            String::new()
                        }
                    }))
                    .collect()
            }),
        )
    }
}

fn number(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.3}")
    } else {
        "-".to_string()
    }
}

/// Finite scores of every training.
fn by_training<'a>(cells: impl Iterator<Item = &'a Cell>, score: usize) -> Vec<Vec<f64>> {
    let mut trainings: std::collections::BTreeMap<usize, Vec<f64>> =
        std::collections::BTreeMap::new();
    for cell in cells {
        trainings
            .entry(cell.training)
            .or_default()
            .push(cell.scores[score]);
    }
    trainings.into_values().collect()
}

fn write_csv<'a>(
    path: &Path,
    head: impl Iterator<Item = &'a str>,
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<(), Failure> {
    let output = Output::file(path, true)?;
    let mut table = csv::Writer::from_path(output.path())?;
    table.write_record(head)?;
    for row in rows {
        table.write_record(row)?;
    }
    table.flush()?;
    drop(table);
    output.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut cells = Vec::new();
        for (model, base) in [("full", 3.0), ("no_split", 1.0)] {
            for training in 1..=2 {
                for map in 1..=3 {
                    for truth in ["organelles", "complexes"] {
                        let value = base + training as f64 + map as f64 / 10.0;
                        cells.push(Cell {
                            model: model.into(),
                            training,
                            map,
                            truth: truth.into(),
                            scores: [value, 2.0 * value, 0.5],
                        });
                    }
                }
            }
        }
        let seconds = vec![("full".into(), 10.0), ("no_split".into(), 20.0)];
        Table::new(cells, seconds, TableParams { seed: 1 }).unwrap()
    }

    #[test]
    fn means_and_errors_of_the_six_maps() {
        let table = table();
        let row = &table.rows[0];
        assert_eq!(
            (row.model.as_str(), row.score),
            ("full", "clustering_robust")
        );
        assert!((row.mean.mean.value - 4.7).abs() < 1e-12);
        // Of 4.1 4.2 4.3 5.1 5.2 5.3: the sample deviation over the root of six.
        assert!((row.mean.standard_error - (1.54_f64 / 5.0 / 6.0).sqrt()).abs() < 1e-12);
        assert!((row.mean.model_standard_error - 0.5).abs() < 1e-12);
        let points = table.measured("clustering_reference");
        assert_eq!(points[1].name, "no_split");
        assert!((points[1].mean[0] - 5.4).abs() < 1e-12);
        let text = table.to_text();
        assert!(text.contains("4.700 +- 0.227"), "{text}");
        let dir = tempfile::tempdir().unwrap();
        table.write(dir.path()).unwrap();
        let written = std::fs::read_to_string(dir.path().join("table.csv")).unwrap();
        assert_eq!(written.lines().count(), 13);
    }
}
