use std::fmt::Write as _;
use std::path::Path;

use cytoself_eval::{Confusion, Interval};
use serde_json::{Map, Value, json};

use super::{Arguments, Scores, Subject};
use crate::cli::Failure;

/// Version of the format of `scores.json`.
const FORMAT: u32 = 1;

/// Scores of every representation, and how they were made.
#[derive(Debug, Clone)]
pub struct Report {
    made: Value,
    classes: Vec<String>,
    rows: Vec<(String, Scores)>,
    maps: Vec<String>,
    notes: Map<String, Value>,
}

impl Report {
    /// A report without scores.
    #[must_use]
    pub fn new(subject: &Subject, arguments: &Arguments, seed: u64) -> Self {
        let judged = subject.judged.iter().filter(|&&j| j).count();
        let counts: Map<String, Value> = subject
            .labels
            .names()
            .iter()
            .enumerate()
            .map(|(class, name)| {
                let of = subject.labels.classes().iter().zip(&subject.judged);
                (
                    name.clone(),
                    json!(of.filter(|(c, j)| **c == Some(class) && **j).count()),
                )
            })
            .collect();
        let fields: std::collections::BTreeSet<_> = subject.field.iter().collect();
        let proteins: std::collections::BTreeSet<_> = subject.protein.iter().collect();
        let made = json!({
            "tool": concat!("cytoself evaluate ", env!("CARGO_PKG_VERSION")),
            "embeddings": arguments.embeddings.display().to_string(),
            "truth": subject.description,
            "reference_split": arguments.reference,
            "neighbours": arguments.neighbours,
            "resamples": arguments.resamples,
            "confidence": 0.95,
            "resampled": "fields of view",
            "seed": seed,
            "crops": judged,
            "crops_without_class": subject.skipped.0,
            "crops_over_limit": subject.skipped.1,
            "proteins": proteins.len(),
            "fields": fields.len(),
            "crops_of_class": counts,
        });
        Self {
            made,
            classes: subject.labels.names().to_vec(),
            rows: Vec::new(),
            maps: Vec::new(),
            notes: Map::new(),
        }
    }

    /// Adds a finding that is no score of a representation, under a name of its own.
    pub fn note(&mut self, name: &str, value: Value) {
        self.notes.insert(name.to_string(), value);
    }

    /// Adds the scores of a representation; the first one gives the headline votes.
    pub fn add(&mut self, name: &str, scores: Scores) {
        self.rows.push((name.to_string(), scores));
    }

    /// Adds the scores of a map; the first one gives the headline clustering score and silhouette.
    pub fn add_map(&mut self, name: &str, scores: Scores) {
        self.maps.push(name.to_string());
        self.add(name, scores);
    }

    /// The scores of a representation or map.
    #[must_use]
    pub fn scores(&self, name: &str) -> Option<&Scores> {
        self.rows
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, scores)| scores)
    }

    /// The report as JSON: headline scores on top, all of them under `representations`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut top = Map::new();
        top.insert("format".into(), json!("cytoself-scores"));
        top.insert("version".into(), json!(FORMAT));
        let map = self.maps.first().and_then(|name| self.scores(name));
        let clustering = ["robust", "reference"].map(|form| {
            let found = map.and_then(|m| m.get(&format!("clustering_score.{form}")));
            (form.to_string(), found.map_or(Value::Null, interval))
        });
        top.insert(
            "clustering_score".into(),
            Value::Object(clustering.into_iter().collect()),
        );
        top.insert(
            "silhouette".into(),
            map.and_then(|m| m.get("silhouette"))
                .map_or(Value::Null, interval),
        );
        if let Some((_, first)) = self.rows.first() {
            let votes = first
                .values
                .iter()
                .filter(|(name, _)| name.starts_with("knn"));
            top.extend(votes.map(|(name, value)| ((*name).to_string(), interval(*value))));
        }
        let all = self
            .rows
            .iter()
            .map(|(name, scores)| (name.clone(), representation(scores)));
        top.insert("representations".into(), Value::Object(all.collect()));
        top.extend(self.notes.clone());
        top.insert("definitions".into(), definitions());
        top.insert("made".into(), self.made.clone());
        Value::Object(top)
    }

    /// The report as a table for people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = String::new();
        for (name, scores) in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}");
            for (score, value) in &scores.values {
                let _ = writeln!(
                    text,
                    "  {score:<30} {:8.4}  [{:.4}, {:.4}]",
                    value.value, value.low, value.high
                );
            }
            for (score, count) in scores.left_out.iter().filter(|(_, count)| *count > 0) {
                let _ = writeln!(
                    text,
                    "  {count} crops not judged for {score}: no admissible neighbour of their class"
                );
            }
        }
        for (name, value) in &self.notes {
            let _ = writeln!(text, "{name}: {value}");
        }
        text
    }

    /// Writes `scores.json`, `scores.csv` and one confusion table per representation.
    ///
    /// # Errors
    /// - a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        std::fs::write(
            folder.join("scores.json"),
            format!("{:#}\n", self.to_json()),
        )?;
        let mut table = csv::Writer::from_path(folder.join("scores.csv"))?;
        table.write_record(["representation", "score", "value", "low", "high"])?;
        for (name, scores) in &self.rows {
            for (score, value) in &scores.values {
                let numbers = [value.value, value.low, value.high].map(|v| v.to_string());
                table.write_record([
                    name.as_str(),
                    score,
                    &numbers[0],
                    &numbers[1],
                    &numbers[2],
                ])?;
            }
        }
        table.flush()?;
        for (name, scores) in &self.rows {
            if let Some(confusion) = &scores.confusion {
                let file: String = name
                    .chars()
                    .map(|c| if c.is_alphanumeric() { c } else { '_' })
                    .collect();
                self.write_confusion(&folder.join(format!("confusion_{file}.csv")), confusion)?;
            }
        }
        Ok(())
    }

    fn write_confusion(&self, path: &Path, confusion: &Confusion) -> Result<(), Failure> {
        let mut table = csv::Writer::from_path(path)?;
        let head = ["true \\ predicted".to_string()]
            .into_iter()
            .chain(self.classes.iter().cloned());
        table.write_record(head.chain(["precision", "recall", "f1"].map(String::from)))?;
        for ((name, counts), class) in self
            .classes
            .iter()
            .zip(confusion.counts().outer_iter())
            .zip(confusion.classes())
        {
            let counts = counts.iter().map(u64::to_string);
            let scores = [class.precision, class.recall, class.f1].map(|v| format!("{v:.6}"));
            table.write_record([name.clone()].into_iter().chain(counts).chain(scores))?;
        }
        Ok(table.flush()?)
    }
}

fn interval(value: Interval) -> Value {
    json!({ "value": value.value, "low": value.low, "high": value.high })
}

fn representation(scores: &Scores) -> Value {
    let mut object = Map::new();
    for (name, value) in &scores.values {
        match name.split_once('.') {
            Some((outer, inner)) => {
                let nested = object.entry(outer).or_insert_with(|| json!({}));
                nested[inner] = interval(*value);
            }
            None => {
                object.insert((*name).to_string(), interval(*value));
            }
        }
    }
    let left_out: Map<String, Value> = scores
        .left_out
        .iter()
        .map(|(name, n)| ((*name).to_string(), json!(n)))
        .collect();
    object.insert("crops_not_judged".into(), Value::Object(left_out));
    Value::Object(object)
}

fn definitions() -> Value {
    json!({
        "knn_macro_f1": "mean over classes of the F1 of a vote of the k nearest crops, crops of the query's own field excluded",
        "knn_macro_f1_other_proteins": "the same with the query's own protein excluded as well",
        "knn_macro_f1_all_neighbours": "the same with only the query itself excluded, as `score` computes it",
        "clustering_score.robust": "median distance of class centres to their median, over the median class size",
        "clustering_score.reference": "standard deviation of all coordinates of the class centres, over the median class size",
        "silhouette": "mean silhouette of the crops; on top, of the map",
        "batch_knn_accuracy": "share of crops whose batch a vote of the k nearest crops names, own field and own protein excluded",
        "low, high": "percentile bootstrap over fields of view",
    })
}
