//! What all ranks of a training must have in common.

use cytoself_io::Split;

use super::checkpoint::TrainingState;
use super::data::TrainingData;
use super::team::{Collectives, agree};
use crate::ModelError;
use crate::config::Config;
use crate::ops::InstructionSet;

/// 64 bits of many (FNV-1a).
pub(super) struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = (self.0 ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(super) fn text(&self) -> String {
        format!("{:016x}", self.0)
    }

    fn of(bytes: &[u8]) -> String {
        let mut hash = Self::default();
        hash.add(bytes);
        hash.text()
    }
}

/// Refuses to begin unless all ranks are the same program with the same settings and crops.
///
/// # Errors
/// - [`ModelError::Inconsistent`] on every rank: what differs, on which rank;
/// - [`ModelError::Lost`]: another rank failed;
/// - a crop cannot be read.
pub fn check_alike(
    team: &dyn Collectives,
    config: &Config,
    data: &TrainingData,
) -> Result<(), ModelError> {
    check_ranks(team, config, data, None)
}

/// As [`check_alike`], and the same checkpoint.
pub(super) fn check_ranks(
    team: &dyn Collectives,
    config: &Config,
    data: &TrainingData,
    state: Option<&TrainingState>,
) -> Result<(), ModelError> {
    if team.size() == 1 {
        return Ok(());
    }
    let items = agree(team, items(team, config, data, state))?;
    compare(team, &items)
}

/// Refuses to go on unless all ranks have the values that rank 0 has under the same names.
pub(super) fn compare(
    team: &dyn Collectives,
    items: &[(String, String)],
) -> Result<(), ModelError> {
    let line = |(name, value): &(String, String)| format!("{name}\t{value}");
    let own: Vec<String> = items.iter().map(line).collect();
    let all = team.gather(own.join("\n").as_bytes())?;
    let all: Vec<String> = all
        .iter()
        .map(|b| String::from_utf8_lossy(b).into_owned())
        .collect();
    let Some(rank) = all.iter().position(|text| *text != all[0]) else {
        return Ok(());
    };
    let (mut expected, mut found) = (all[0].lines(), all[rank].lines());
    loop {
        let pair = (expected.next(), found.next());
        if pair.0 == pair.1 && pair.0.is_some() {
            continue;
        }
        let split = |line: Option<&str>| {
            let (name, value) = line
                .and_then(|l| l.split_once('\t'))
                .unwrap_or(("program", "nothing"));
            (name.to_string(), value.to_string())
        };
        let ((what, expected), (_, found)) = (split(pair.0), split(pair.1));
        return Err(ModelError::Inconsistent {
            what,
            rank,
            expected,
            found,
        });
    }
}

/// Names and values, what a user can change first.
fn items(
    team: &dyn Collectives,
    config: &Config,
    data: &TrainingData,
    state: Option<&TrainingState>,
) -> Result<Vec<(String, String)>, ModelError> {
    let mut items = Vec::new();
    let mut add =
        |name: &str, value: String| items.push((name.to_string(), value.replace('\n', " ")));
    add("version", env!("CARGO_PKG_VERSION").to_string());
    add("number of ranks", team.size().to_string());
    add("instruction set", format!("{:?}", InstructionSet::detect()));
    let t = &config.training;
    add("seed", t.seed.to_string());
    add("number of epochs", t.epochs.to_string());
    add("batch", t.batch.to_string());
    // Line by line, so that the setting that differs is named.
    for line in config.to_toml().lines().filter(|l| !l.is_empty()) {
        match line.split_once(" = ") {
            Some((name, value)) => add(&format!("setting {name}"), value.to_string()),
            None => add("settings", line.to_string()),
        }
    }
    add("number of proteins", data.proteins().len().to_string());
    add(
        "list of proteins",
        Hash::of(data.proteins().join("\n").as_bytes()),
    );
    for split in Split::ALL {
        let rows = data.rows(split);
        add(&format!("number of {split} crops"), rows.len().to_string());
        let mut hash = Hash::default();
        for &row in rows {
            hash.add(&row.to_le_bytes());
            hash.add(&data.label(row).to_le_bytes());
        }
        add(&format!("choice of {split} crops"), hash.text());
        if let Some(first) = rows.first() {
            let mut hash = Hash::default();
            for pixel in data.read(&[*first])? {
                hash.add(&pixel.to_le_bytes());
            }
            add(&format!("first {split} crop"), hash.text());
        }
    }
    if let Some(state) = state {
        add("epoch", state.epoch.to_string());
        add("step", state.step.to_string());
        let text = serde_json::to_string(state).unwrap_or_default();
        add("checkpoint", Hash::of(text.as_bytes()));
    }
    Ok(items)
}
