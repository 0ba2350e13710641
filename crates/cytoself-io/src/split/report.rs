//! What a split did.

use std::fmt;

/// How the fields of one protein were divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitRule {
    /// Three or more fields: each split has at least one.
    ByField,
    /// Two fields: the larger trains, the other tests; none validates.
    TwoFields,
    /// One field, which trains: the protein is in neither validation nor test.
    OneField,
    /// The crops have no field: divided one by one, so that neighbours in an image may be in different splits.
    ByCrop,
}

/// The split of one protein.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProteinSplit {
    /// The protein; empty if the table has no column `protein`.
    pub protein: String,
    /// Fields in training, validation and test.
    pub fields: [usize; 3],
    /// Crops in training, validation and test.
    pub crops: [usize; 3],
    /// How they were divided.
    pub rule: SplitRule,
}

/// What a split did: totals, and one entry per protein in order of first appearance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitReport {
    /// Crops in training, validation and test.
    pub crops: [usize; 3],
    /// Fields in training, validation and test.
    pub fields: [usize; 3],
    /// By protein.
    pub proteins: Vec<ProteinSplit>,
}

impl SplitReport {
    pub(super) fn add(&mut self, protein: ProteinSplit) {
        for k in 0..3 {
            self.crops[k] += protein.crops[k];
            self.fields[k] += protein.fields[k];
        }
        self.proteins.push(protein);
    }

    /// The proteins that `rule` was used for.
    pub fn with_rule(&self, rule: SplitRule) -> impl Iterator<Item = &ProteinSplit> {
        self.proteins.iter().filter(move |p| p.rule == rule)
    }
}

impl fmt::Display for SplitReport {
    /// One line of totals, and one line per rule other than the usual one with the proteins it was used for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [train, val, test] = self.crops;
        write!(
            f,
            "split of {} crops: {train} train, {val} val, {test} test",
            train + val + test
        )?;
        let [train, val, test] = self.fields;
        if train + val + test > 0 {
            write!(f, " ({train}, {val}, {test} fields)")?;
        }
        for (rule, text) in [
            (
                SplitRule::TwoFields,
                "with two fields only, none of them in validation",
            ),
            (
                SplitRule::OneField,
                "with one field only, in training alone",
            ),
            (
                SplitRule::ByCrop,
                "without a column fov, divided crop by crop",
            ),
        ] {
            let names: Vec<&str> = self.with_rule(rule).map(|p| p.protein.as_str()).collect();
            if !names.is_empty() {
                let shown = names[..names.len().min(10)].join(", ");
                let more = if names.len() > 10 { ", ..." } else { "" };
                write!(f, "\n{} proteins {text}: {shown}{more}", names.len())?;
            }
        }
        Ok(())
    }
}
