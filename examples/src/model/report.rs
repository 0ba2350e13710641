//! What a training tells a terminal.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cytoself_model::{EpochReport, EventWriter, HistoryRow, Metrics, TrainingObserver};

use crate::cli::{Common, Failure};
use crate::plot::{self, Curves};
use crate::progress::{Progress, interrupted};

/// Draws the losses, accuracies and perplexities of all epochs.
pub(super) fn draw_curves(rows: &[HistoryRow], path: &Path) -> Result<(), Failure> {
    let of = |name: &str| -> [(&'static str, Vec<f64>); 2] {
        let train = rows.iter().map(|r| value(&r.train, name)).collect();
        let validation = rows.iter().map(|r| value(&r.validation, name)).collect();
        [("training", train), ("validation", validation)]
    };
    let panels = [
        ("loss", "loss"),
        ("reconstruction1_loss", "reconstruction error / variance"),
        ("fc1_loss", "identification, level 1: cross entropy"),
        ("fc2_loss", "identification, level 2: cross entropy"),
        ("fc1_accuracy", "identification, level 1: accuracy"),
        ("fc2_accuracy", "identification, level 2: accuracy"),
        ("perplexity1", "codes in use, level 1: perplexity"),
        ("perplexity2", "codes in use, level 2: perplexity"),
    ];
    let curves = panels.iter().fold(Curves::new(), |curves, (name, title)| {
        curves.panel(title, &of(name))
    });
    plot::save(&curves, path)
}

/// A progress line per epoch, a printed line when it is done, and TensorBoard's events if wanted.
pub(super) struct Reporter<'a> {
    common: &'a Common,
    epochs: usize,
    progress: Option<(u64, Progress)>,
    events: Option<EventWriter<File>>,
    times: Option<PathBuf>,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(common: &'a Common, epochs: usize) -> Self {
        Self {
            common,
            epochs,
            progress: None,
            events: None,
            times: None,
        }
    }

    /// Adds a line `epoch,seconds` to `path` for every epoch that is kept.
    pub(super) fn times(mut self, path: &Path) -> Self {
        self.times = Some(path.to_path_buf());
        self
    }

    /// Writes an event file into `folder` too, which is made if it is not there.
    pub(super) fn events(mut self, folder: &Path) -> Result<Self, Failure> {
        let context = |e: std::io::Error| Failure::from(e).context(folder.display());
        std::fs::create_dir_all(folder).map_err(context)?;
        let now = now();
        let file = folder.join(format!("events.out.tfevents.{now:.0}.cytoself"));
        let file = File::create(file).map_err(context)?;
        self.events = Some(EventWriter::new(file, now).map_err(context)?);
        Ok(self)
    }
}

fn append_time(path: &Path, epoch: usize, time: Duration) -> std::io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    writeln!(file, "{epoch},{:.3}", time.as_secs_f64())
}

/// Seconds that the epochs in a file of times took; an epoch that was run twice counts once.
pub fn total_seconds(text: &str) -> f64 {
    let line = |line: &str| -> Option<(usize, f64)> {
        let (epoch, seconds) = line.split_once(',')?;
        Some((epoch.parse().ok()?, seconds.parse().ok()?))
    };
    let epochs: BTreeMap<usize, f64> = text.lines().filter_map(line).collect();
    epochs.values().sum()
}

/// Seconds since 1970.
fn now() -> f64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0.0, |d| d.as_secs_f64())
}

impl TrainingObserver for Reporter<'_> {
    fn batch(&mut self, batch: u64, batches: u64) -> ControlFlow<()> {
        if self
            .progress
            .as_ref()
            .is_none_or(|(total, _)| *total != batches)
        {
            self.progress = Some((
                batches,
                Progress::new("batches", batches, self.common.quiet),
            ));
        }
        match &self.progress {
            Some((_, progress)) => progress.update(batch),
            None if interrupted() => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    fn notice(&mut self, text: &str) {
        self.common.say(text);
    }

    fn epoch(&mut self, report: &EpochReport<'_>) {
        self.progress = None;
        let row = report.row;
        if let Some(events) = &mut self.events
            && let Err(e) = events.epoch(row, now())
        {
            // The training is worth more than its events.
            self.common
                .say(format!("the event file cannot be written: {e}"));
            self.events = None;
        }
        if let Some(path) = &self.times {
            let seconds = report.train_time + report.validation_time;
            if let Err(e) = append_time(path, row.epoch, seconds) {
                self.common
                    .say(format!("{}: cannot be written: {e}", path.display()));
            }
        }
        let pair = |name: &str| {
            format!(
                "{:.3}/{:.3}",
                value(&row.train, name),
                value(&row.validation, name)
            )
        };
        let seconds = report.train_time.as_secs_f64();
        let mut line = format!(
            "epoch {}/{}: train/val loss {}, fc2 {}, accuracy {}, perplexity {:.0}/{:.0}, lr {:.0e}, {:.1} s, {:.0} crops/s",
            row.epoch,
            self.epochs,
            pair("loss"),
            pair("fc2_loss"),
            pair("fc2_accuracy"),
            value(&row.validation, "perplexity1"),
            value(&row.validation, "perplexity2"),
            row.learning_rate,
            seconds,
            report.crops as f64 / seconds.max(1e-9),
        );
        if report.wait_time.as_secs_f64() > 0.1 * seconds {
            line.push_str(&format!(
                ", waited {:.1} s for crops",
                report.wait_time.as_secs_f64()
            ));
        }
        let exchanged = report.exchange_time.as_secs_f64();
        if exchanged > 0.0 {
            let waited = report.exchange_wait.as_secs_f64();
            line.push_str(&format!(
                ", sums of gradients {exchanged:.1} s of which {:.0} % beside the backward pass",
                100.0 * (1.0 - waited / exchanged).max(0.0)
            ));
        }
        if report.verdict.best {
            line.push_str(", best");
        }
        self.common.say(line);
    }
}

pub(super) fn value(metrics: &Metrics, name: &str) -> f64 {
    metrics.get(name).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_run_twice_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("times.csv");
        for (epoch, seconds) in [(1, 2.0), (2, 3.0), (2, 4.0)] {
            append_time(&path, epoch, Duration::from_secs_f64(seconds)).unwrap();
        }
        assert_eq!(total_seconds(&std::fs::read_to_string(&path).unwrap()), 6.0);
        assert_eq!(total_seconds("nonsense\n3,"), 0.0);
    }
}
