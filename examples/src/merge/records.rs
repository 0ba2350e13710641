//! What shards record of themselves: `done.json`, `fields.csv` and `failures.csv` of `preprocess`, which are joined, and the
//! attribute `shard` of `embed`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cytoself_io::CropTable;
use serde_json::{Map, Value, json};

use crate::cli::Failure;

/// What the shards say about how they were made.
pub(super) struct Records {
    /// `done.json`, or the record in the attributes of an embedding store, with the store it came from.
    done: Vec<(PathBuf, Value)>,
    tables: BTreeMap<&'static str, Vec<CropTable>>,
}

const TABLES: [&str; 2] = ["fields.csv", "failures.csv"];
/// Counts that add up.
const SUMS: [&str; 4] = ["fields", "failed", "nuclei", "crops"];

impl Records {
    /// Reads what is there: stores that `convert` wrote have no records.
    pub(super) fn read(stores: &[PathBuf]) -> Result<Self, Failure> {
        let mut records = Self {
            done: Vec::new(),
            tables: BTreeMap::new(),
        };
        for store in stores {
            let path = store.join("done.json");
            if path.is_file() {
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| Failure::from(e).context(path.display()))?;
                let value = serde_json::from_str(&text)
                    .map_err(|e| Failure::from(e).context(path.display()))?;
                records.done.push((store.clone(), value));
            } else if let Some(shard) = embedded_shard(store) {
                records
                    .done
                    .push((store.clone(), json!({ "shard": shard })));
            }
            for name in TABLES {
                let path = store.join(name);
                if path.is_file() {
                    let table = CropTable::from_csv(&path)?;
                    records.tables.entry(name).or_default().push(table);
                }
            }
        }
        Ok(records)
    }

    /// Fails if shards of a run with N shards are missing.
    pub(super) fn check_complete(&self) -> Result<(), Failure> {
        let mut seen: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (store, done) in &self.done {
            let text = done["shard"].as_str().unwrap_or("0/1");
            let parsed = text
                .split_once('/')
                .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
            let Some((index, count)) = parsed else {
                return Err(Failure::input(format!(
                    "{}: the record of its shard: expected i/N, found {text}",
                    store.display()
                )));
            };
            seen.entry(count).or_default().push(index);
        }
        for (count, found) in seen {
            let runs = found.len().div_ceil(count.max(1) as usize);
            let of = |i: &u64| found.iter().filter(|f| *f == i).count();
            let missing: Vec<String> = (0..count)
                .filter(|i| of(i) < runs)
                .map(|i| format!("{i}/{count}"))
                .collect();
            if !missing.is_empty() {
                return Err(Failure::input(format!(
                    "shard {} missing of the {count} of this run; name every shard, or give --partial to join what is there",
                    if missing.len() == 1 {
                        format!("{} is", missing[0])
                    } else {
                        format!("{} are", missing.join(", "))
                    }
                )));
            }
        }
        Ok(())
    }

    /// Writes the joined records, in an order that does not depend on the shards.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Failure> {
        for (name, tables) in &self.tables {
            sorted(tables)?.to_csv(&folder.join(name))?;
        }
        if self.done.is_empty() {
            return Ok(());
        }
        let path = folder.join("done.json");
        let text = serde_json::to_string_pretty(&self.joined()).map_err(Failure::other)?;
        std::fs::write(&path, text).map_err(|e| Failure::from(e).context(path.display()))
    }

    /// One record of all; what tells the shards apart (their number, the time they took) is left out.
    fn joined(&self) -> Value {
        let all: Vec<&Value> = self.done.iter().map(|(_, done)| done).collect();
        let sum = |pick: &dyn Fn(&Value) -> u64| all.iter().map(|d| pick(d)).sum::<u64>();
        let mut joined = Map::new();
        for name in ["format", "version", "tool"] {
            joined.insert(name.into(), all[0][name].clone());
        }
        joined.insert("parameters".into(), agreed(&all).into());
        for name in SUMS {
            let total = sum(&|d| d[name].as_u64().unwrap_or(0));
            joined.insert(name.into(), total.into());
        }
        joined.insert("rejected".into(), json!({}));
        for name in ["window_outside_field", "quality"] {
            let total = sum(&|d| d["rejected"][name].as_u64().unwrap_or(0));
            joined["rejected"][name] = total.into();
        }
        joined.insert("field_classes".into(), classes(&all).into());
        joined.insert("fields_without_crops".into(), without_crops(&all));
        joined.insert("inputs".into(), inputs(&all).into());
        joined.into()
    }
}

/// The part of a run that `embed --shard` recorded in the attributes of its store.
fn embedded_shard(store: &Path) -> Option<String> {
    let text = std::fs::read_to_string(store.join("zarr.json")).ok()?;
    let root: Value = serde_json::from_str(&text).ok()?;
    Some(root["attributes"]["made"]["shard"].as_str()?.to_string())
}

fn members<'a>(all: &[&'a Value], name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    all.iter()
        .filter_map(|d| d.get(name)?.as_object())
        .flatten()
        .collect::<Vec<_>>()
        .into_iter()
}

/// Parameters on which all agree.
fn agreed(all: &[&Value]) -> Map<String, Value> {
    members(&all[..1], "parameters")
        .filter(|(name, value)| {
            all.iter()
                .all(|d| d["parameters"].get(*name) == Some(*value))
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn classes(all: &[&Value]) -> Map<String, Value> {
    let mut classes: BTreeMap<&String, u64> = BTreeMap::new();
    for (name, count) in members(all, "field_classes") {
        *classes.entry(name).or_default() += count.as_u64().unwrap_or(0);
    }
    classes
        .into_iter()
        .map(|(name, count)| (name.clone(), count.into()))
        .collect()
}

fn without_crops(all: &[&Value]) -> Value {
    let mut fields: BTreeMap<&String, BTreeSet<&str>> = BTreeMap::new();
    for (class, names) in members(all, "fields_without_crops") {
        let names = names.as_array().into_iter().flatten();
        fields
            .entry(class)
            .or_default()
            .extend(names.filter_map(Value::as_str));
    }
    json!(fields)
}

fn inputs(all: &[&Value]) -> Vec<Value> {
    let mut inputs: Vec<Value> = all
        .iter()
        .filter_map(|d| d["inputs"].as_array())
        .flatten()
        .cloned()
        .collect();
    inputs.sort_by(|a, b| a["path"].as_str().cmp(&b["path"].as_str()));
    inputs
}

/// The rows of all tables by the name of their field.
fn sorted(tables: &[CropTable]) -> Result<CropTable, Failure> {
    let mut joined = CropTable::new();
    // A table without rows has no types of columns, but its names are wanted where all are empty.
    for table in tables.iter().filter(|t| !t.is_empty()) {
        joined.concat(table)?;
    }
    if joined.is_empty() {
        return Ok(tables.first().cloned().unwrap_or_default());
    }
    let mut rows: Vec<usize> = (0..joined.len()).collect();
    if let Some(fovs) = joined.text("fov") {
        rows.sort_by(|&a, &b| fovs.get(a).cmp(fovs.get(b)));
    }
    Ok(joined.select(&rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shards: &[&str]) -> Records {
        Records {
            done: shards
                .iter()
                .map(|s| (PathBuf::from(s), json!({ "shard": s })))
                .collect(),
            tables: BTreeMap::new(),
        }
    }

    #[test]
    fn a_missing_shard_is_named() {
        for complete in [&["0/1"][..], &["2/3", "0/3", "1/3"], &["0/1", "0/1"], &[]] {
            of(complete).check_complete().unwrap();
        }
        let missing = |shards: &[&str]| format!("{:?}", of(shards).check_complete().unwrap_err());
        assert!(missing(&["2/3", "0/3"]).contains("1/3 is missing"));
        assert!(missing(&["1/2", "1/2"]).contains("0/2 is missing"));
        assert!(missing(&["0/4"]).contains("1/4, 2/4, 3/4 are missing"));
    }
}
