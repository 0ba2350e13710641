//! What a run did: `fields.csv`, `failures.csv` and `done.json`.

use std::collections::BTreeMap;
use std::path::Path;

use cytoself_io::{CropTable, FieldSpec, Value};
use serde_json::{Value as Json, json};

use super::options::Options;
use super::parts::{FieldPart, Input, Summary};
use crate::cli::Failure;

/// Version of `done.json`.
const VERSION: u32 = 1;

/// Collects the fields of a run in the order of the manifest.
pub(super) struct Record<'a> {
    options: &'a Options,
    fields: Vec<(FieldName, Summary)>,
}

struct FieldName {
    fov: String,
    protein: String,
    path: String,
    row: usize,
}

impl<'a> Record<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self {
            options,
            fields: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, field: &FieldSpec, part: &FieldPart) {
        let path = field
            .paths
            .iter()
            .map(|p| p.display().to_string())
            .collect::<Vec<_>>()
            .join(";");
        let name = FieldName {
            fov: field.fov.clone(),
            protein: field.protein.clone(),
            path,
            row: field.row,
        };
        self.fields.push((name, part.summary.clone()));
    }

    /// Writes the three files into the store's folder.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Failure> {
        self.field_table()?.to_csv(&folder.join("fields.csv"))?;
        self.failure_table()?.to_csv(&folder.join("failures.csv"))?;
        let path = folder.join("done.json");
        let text = serde_json::to_string_pretty(&self.done()).map_err(Failure::other)?;
        std::fs::write(&path, text).map_err(|e| Failure::from(e).context(path.display()))
    }

    fn field_table(&self) -> Result<CropTable, Failure> {
        let mut table = CropTable::new();
        for column in ["fov", "protein", "class", "method"] {
            table.insert(column, cytoself_io::TextColumn::new())?;
        }
        for column in ["nuclei", "crops", "outside", "rejected"] {
            table.insert(column, Vec::<f64>::new())?;
        }
        for (name, s) in self.fields.iter().filter(|(_, s)| s.failure.is_none()) {
            table.push(&[
                ("fov", Value::Text(&name.fov)),
                ("protein", Value::Text(&name.protein)),
                ("class", Value::Text(&s.class)),
                ("method", Value::Text(&s.method)),
                ("nuclei", Value::Number(s.nuclei as f64)),
                ("crops", Value::Number(s.crops as f64)),
                ("outside", Value::Number(s.outside as f64)),
                ("rejected", Value::Number(s.rejected as f64)),
            ])?;
        }
        Ok(table)
    }

    fn failure_table(&self) -> Result<CropTable, Failure> {
        let mut table = CropTable::new();
        for column in ["fov", "protein", "path", "reason"] {
            table.insert(column, cytoself_io::TextColumn::new())?;
        }
        table.insert("row", Vec::<f64>::new())?;
        for (name, reason) in self.failures() {
            table.push(&[
                ("fov", Value::Text(&name.fov)),
                ("protein", Value::Text(&name.protein)),
                ("path", Value::Text(&name.path)),
                ("reason", Value::Text(reason)),
                ("row", Value::Number(name.row as f64)),
            ])?;
        }
        Ok(table)
    }

    fn failures(&self) -> impl Iterator<Item = (&FieldName, &str)> {
        self.fields
            .iter()
            .filter_map(|(name, s)| s.failure.as_deref().map(|f| (name, f)))
    }

    /// Fields without a single crop or failure, by class.
    fn without_crops(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut classes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, s) in self
            .fields
            .iter()
            .filter(|(_, s)| s.failure.is_none() && s.crops == 0)
        {
            classes.entry(&s.class).or_default().push(&name.fov);
        }
        classes
    }

    fn total(&self, count: impl Fn(&Summary) -> usize) -> usize {
        self.fields.iter().map(|(_, s)| count(s)).sum()
    }

    fn done(&self) -> Json {
        let parameters: BTreeMap<_, _> = self.options.parameters().into_iter().collect();
        let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, s) in self.fields.iter().filter(|(_, s)| s.failure.is_none()) {
            *classes.entry(&s.class).or_default() += 1;
        }
        let inputs: Vec<&Input> = self.fields.iter().flat_map(|(_, s)| &s.inputs).collect();
        json!({
            "format": "cytoself preprocess",
            "version": VERSION,
            "tool": concat!("cytoself ", env!("CARGO_PKG_VERSION")),
            "shard": self.options.shard.to_string(),
            "parameters": parameters,
            "fields": self.fields.len(),
            "failed": self.failures().count(),
            "field_classes": classes,
            "fields_without_crops": self.without_crops(),
            "nuclei": self.total(|s| s.nuclei),
            "crops": self.total(|s| s.crops),
            "rejected": {
                "window_outside_field": self.total(|s| s.outside),
                "quality": self.total(|s| s.rejected),
            },
            "seconds": {
                "fields": self.fields.iter().map(|(_, s)| s.seconds).sum::<f64>(),
                "slowest_field": self.fields.iter().map(|(_, s)| s.seconds).fold(0.0, f64::max),
            },
            "inputs": inputs,
        })
    }

    /// Lines for the user.
    pub(super) fn summary(&self, crops: usize) -> String {
        let out = self.options.out.display();
        let mut text = format!("{out}: {crops} crops from {} fields", self.fields.len());
        let outside = self.total(|s| s.outside);
        if outside > 0 {
            text.push_str(&format!("; {outside} nuclei too near the edge for a crop"));
        }
        let rejected = self.total(|s| s.rejected);
        if rejected > 0 {
            text.push_str(&format!("; {rejected} rejected for their quality"));
        }
        for (class, fields) in self.without_crops() {
            text.push_str(&format!(
                "\n{} fields without crops, {class}: {}",
                fields.len(),
                some(&fields)
            ));
        }
        let failures: Vec<&str> = self.failures().map(|(name, _)| name.fov.as_str()).collect();
        if !failures.is_empty() {
            text.push_str(&format!(
                "\n{} fields failed, see failures.csv: {}",
                failures.len(),
                some(&failures)
            ));
        }
        text
    }

    /// Why there is not one crop.
    pub(super) fn nothing_found(&self) -> Failure {
        let manifest = self.options.manifest.display();
        let mut text = format!(
            "{manifest}: expected nuclei in at least one of {} fields, found none",
            self.fields.len()
        );
        if self.fields.is_empty() {
            text.push_str(&format!(" (shard {} holds no field)", self.options.shard));
        }
        for (class, fields) in self.without_crops() {
            text.push_str(&format!(
                "; {} fields {class}: {}",
                fields.len(),
                some(&fields)
            ));
        }
        let outside = self.total(|s| s.outside);
        if outside > 0 {
            text.push_str(&format!(
                "; {outside} nuclei too near the edge for --crop-size {}",
                self.options.crop_size
            ));
        }
        if let Some((name, reason)) = self.failures().next() {
            text.push_str(&format!(
                "; {} fields failed, first {}: {reason}",
                self.failures().count(),
                name.fov
            ));
        }
        Failure::input(text)
    }
}

/// The first few names.
fn some(names: &[&str]) -> String {
    let more = if names.len() > 5 { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(5)].join(", "))
}
