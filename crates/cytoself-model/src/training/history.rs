//! The table of epochs, with the columns of cytoself's `training_history.csv`.

use serde::{Deserialize, Serialize};

use crate::metrics::{EXTRA_METRICS, METRICS, Metrics};

/// One epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// Counted from 1.
    pub epoch: usize,
    /// Means over the training batches.
    pub train: Metrics,
    /// Means over the validation batches.
    pub validation: Metrics,
    /// The learning rate of the epoch.
    #[serde(with = "crate::exact")]
    pub learning_rate: f64,
    /// Means over the test batches, with the best weights; in the last row only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test: Option<Metrics>,
    /// Codes of each level that no training crop of the epoch used.
    #[serde(default)]
    pub dead_codes: [usize; 2],
}

/// All epochs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// The epochs in order.
    pub rows: Vec<HistoryRow>,
}

impl History {
    /// The table: cytoself's columns (train, val, lr, test; 0 where a value is missing), then ours.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = header();
        text.push('\n');
        for row in &self.rows {
            text.push_str(&line(row));
            text.push('\n');
        }
        text
    }
}

fn header() -> String {
    let with = |prefix: &'static str, names: &[&'static str]| -> Vec<String> {
        names.iter().map(|n| format!("{prefix}_{n}")).collect()
    };
    let mut names = with("train", &METRICS);
    names.extend(with("val", &METRICS));
    names.push("lr".to_string());
    names.extend(with("test", &METRICS));
    for prefix in ["train", "val", "test"] {
        names.extend(with(prefix, &EXTRA_METRICS));
    }
    names.extend(["dead_codes1", "dead_codes2", "epoch"].map(String::from));
    names.join(",")
}

fn line(row: &HistoryRow) -> String {
    let test = row.test.unwrap_or_default();
    let of = |m: &Metrics, extra: bool| -> Vec<f64> {
        let (own, more) = m.values().split_at(METRICS.len());
        if extra { more.to_vec() } else { own.to_vec() }
    };
    let mut values = of(&row.train, false);
    values.extend(of(&row.validation, false));
    values.push(row.learning_rate);
    for (metrics, extra) in [
        (&test, false),
        (&row.train, true),
        (&row.validation, true),
        (&test, true),
    ] {
        values.extend(of(metrics, extra));
    }
    values.extend(row.dead_codes.map(|d| d as f64));
    values.push(row.epoch as f64);
    values
        .iter()
        .map(|v| format!("{v}"))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_cytoself() {
        let mut train = Metrics::default();
        train.set("loss", 2.5);
        let row = HistoryRow {
            epoch: 1,
            train,
            validation: Metrics::default(),
            learning_rate: 4e-4,
            test: None,
            dead_codes: [3, 0],
        };
        let text = History { rows: vec![row] }.to_csv();
        let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split(',').collect()).collect();
        assert_eq!(lines[0].len(), lines[1].len());
        assert_eq!(lines[0][0], "train_loss");
        assert_eq!(lines[0][14], "train_vq2_softmax_loss");
        assert_eq!(lines[0][15], "val_loss");
        assert_eq!(lines[0][30], "lr");
        assert_eq!(lines[0][31], "test_loss");
        assert_eq!(
            (lines[1][0], lines[1][30], lines[1][31]),
            ("2.5", "0.0004", "0")
        );
    }
}
