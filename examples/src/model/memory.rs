//! The memory of a training: foreseen, bounded and measured.

use candle_core::Device;
use cytoself_model::{Config, Model, StepMemory, Trainer};

use crate::cli::{Common, Failure};

/// What the program had before the training, and what it may have in all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    base: u64,
    limit: Option<u64>,
    /// Processes among which a batch is cut.
    ranks: usize,
}

impl Budget {
    /// A bound on the whole program, which holds what it holds now and is one of `ranks`.
    pub(super) fn new(limit: Option<u64>, ranks: usize) -> Self {
        Self {
            base: resident().unwrap_or(0),
            limit,
            ranks,
        }
    }

    /// Cuts the batches of a training that has not begun, so that it keeps to the bound.
    ///
    /// # Errors
    /// - not even batches of one crop keep to it.
    pub(super) fn fit(&self, config: &mut Config, common: &Common) -> Result<(), Failure> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let memory = StepMemory::of(&Model::new(&config.model, 0, &Device::Cpu)?)?;
        let (batch, accumulate) = (config.training.batch, config.training.accumulate);
        let mut divisors = (1..=batch).rev().filter(|n| batch.is_multiple_of(*n));
        let whole = accumulate * batch;
        let fits = |n: &usize| self.total(&memory, *n, whole / n) <= limit;
        let Some(fitting) = divisors.find(fits) else {
            let needed = self.total(&memory, 1, accumulate * batch);
            return Err(Failure::input(format!(
                "--max-memory {}: expected at least {} for batches of one crop of this network; give more, or a smaller --preset",
                mebibytes(limit),
                mebibytes(needed),
            )));
        };
        if fitting < batch {
            let parts = batch / fitting;
            config.training.batch = fitting;
            config.training.accumulate = accumulate * parts;
            common.say(format!(
                "batches of {batch} would need {}: {parts} batches of {fitting} make a step",
                mebibytes(self.total(&memory, batch, accumulate)),
            ));
        }
        Ok(())
    }

    /// The memory that `trainer` will need, in bytes.
    ///
    /// # Errors
    /// - it is more than the bound, in a training that has begun.
    pub(super) fn estimate(&self, trainer: &Trainer, common: &Common) -> Result<u64, Failure> {
        let t = &trainer.config().training;
        let needed = self.total(&trainer.memory()?, t.batch, t.accumulate);
        if let Some(limit) = self.limit.filter(|limit| *limit < needed) {
            return Err(Failure::input(format!(
                "--max-memory {}: the training that --resume goes on with needs {} for its batches of {}; give more",
                mebibytes(limit),
                mebibytes(needed),
                t.batch,
            )));
        }
        common.say(format!(
            "memory: about {} with batches of {}",
            mebibytes(needed),
            t.batch
        ));
        Ok(needed)
    }

    fn total(&self, memory: &StepMemory, batch: usize, accumulate: usize) -> u64 {
        self.base + memory.bytes(batch.div_ceil(self.ranks), accumulate) as u64
    }
}

/// Says what the whole program took at most, beside what was foreseen.
pub(super) fn say_peak(estimate: u64, common: &Common) {
    // The allocator keeps what was freed (`cli::run`), so that what is held at the end is the most there was.
    if let (Some(held), Some(peak)) = (resident(), peak()) {
        common.say(format!(
            "memory: {} at most (foreseen {}), {} with mapped files and the program",
            mebibytes(held),
            mebibytes(estimate),
            mebibytes(peak)
        ));
    }
}

/// Bytes of `2G`, `800M`, `1500000k` or `2.5GiB`.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let factor = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "k" => 1u64 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return Err("expected a number with a unit, such as 800M or 2G".to_string()),
    };
    match digits.parse::<f64>() {
        Ok(n) if n.is_finite() && n > 0.0 => Ok((n * factor as f64) as u64),
        _ => Err("expected a positive number with a unit, such as 800M or 2G".to_string()),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Largest memory of this process so far in bytes, where the system tells.
pub(super) fn peak() -> Option<u64> {
    status("VmHWM:")
}

/// Memory of this process now in bytes, without mapped files, which the system takes back when it needs them; where it tells.
fn resident() -> Option<u64> {
    status("RssAnon:")
}

fn status(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with(field))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse("800M"), Ok(800 << 20));
        assert_eq!(parse("2.5GiB"), Ok(5 << 29));
        assert_eq!(parse("64kb"), Ok(64 << 10));
        for wrong in ["", "12", "G", "-1G", "1X", "nanM", "1 G"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn batches_are_cut_until_they_fit_or_refused() {
        let common = Common {
            threads: None,
            seed: 1,
            quiet: true,
            overwrite: false,
        };
        let config = || {
            let mut config = Config::preset("torch-micro").unwrap();
            config.model.classes = 5;
            config.training.batch = 24;
            config
        };
        let model = Model::new(&config().model, 0, &Device::Cpu).unwrap();
        let memory = StepMemory::of(&model).unwrap();
        let fit = |bytes: usize| {
            let (base, limit) = (1 << 20, Some((1 << 20) + bytes as u64));
            let mut config = config();
            let ranks = 1;
            Budget { base, limit, ranks }.fit(&mut config, &common)?;
            Ok::<_, Failure>((config.training.batch, config.training.accumulate))
        };
        assert_eq!(fit(memory.bytes(24, 1)).unwrap(), (24, 1));
        assert_eq!(fit(memory.bytes(8, 3)).unwrap(), (8, 3));
        assert_eq!(fit(memory.bytes(8, 3) - 1).unwrap(), (6, 4));
        let error = fit(memory.bytes(1, 24) - 1).unwrap_err();
        assert!(
            matches!(error, Failure::Input(m) if m.contains("--max-memory") && m.contains("one crop"))
        );
    }
}
