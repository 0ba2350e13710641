//! The record of an ablation: what its parts have in common.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Arguments;
use crate::cli::{Common, Failure};
use crate::output::Output;

/// Version of the layout of the folder.
const VERSION: u32 = 1;
const FILE: &str = "ablation.json";

/// Makes the folder with its record, or checks that an earlier run's record is of the same settings.
///
/// The numbers of trainings and maps and the list of variants may grow: parts do not depend on them.
pub(super) fn begin(arguments: &Arguments, common: &Common) -> Result<(), Failure> {
    let out = &arguments.out;
    let parameters = parameters(arguments, common)?;
    if arguments.resume && out.join(FILE).is_file() {
        return compare(&out.join(FILE), &parameters);
    }
    // Written in one rename, so that a folder without a record is never taken for one that can go on.
    let output = Output::folder(out, common.overwrite)?;
    let record = json!({
        "format": "cytoself-ablation",
        "version": VERSION,
        "tool": concat!("cytoself ablate ", env!("CARGO_PKG_VERSION")),
        "parameters": parameters,
    });
    fs::write(output.path().join(FILE), format!("{record:#}\n"))?;
    output.commit()
}

/// What decides the parts.
fn parameters(arguments: &Arguments, common: &Common) -> Result<Map<String, Value>, Failure> {
    let values = [
        ("data", json!(arguments.data.display().to_string())),
        ("config", json!(arguments.full_config()?.to_toml())),
        ("inpainting_width", json!(arguments.inpainting_width)),
        ("epochs", json!(arguments.epochs)),
        ("batch_size", json!(arguments.batch_size)),
        ("crops", json!(arguments.crops)),
        ("limit", json!(arguments.limit)),
        ("seed", json!(common.seed)),
    ];
    Ok(values
        .map(|(name, value)| (name.to_string(), value))
        .into_iter()
        .collect())
}

fn compare(path: &Path, ours: &Map<String, Value>) -> Result<(), Failure> {
    let context = |f: Failure| f.context(path.display());
    let text = fs::read_to_string(path).map_err(|e| context(e.into()))?;
    let record: Value = serde_json::from_str(&text).map_err(|e| context(e.into()))?;
    if record["version"] != json!(VERSION) {
        return Err(context(Failure::input(format!(
            "expected version {VERSION} of the folder, found {}; choose another --out",
            record["version"]
        ))));
    }
    let theirs = &record["parameters"];
    match ours
        .iter()
        .find(|(name, value)| theirs.get(*name) != Some(*value))
    {
        None => Ok(()),
        Some((name, value)) => Err(context(Failure::input(format!(
            "{name}: the parts that are there were made with {}, found {value}; give the same settings, or another --out",
            theirs.get(name).unwrap_or(&Value::Null)
        )))),
    }
}
