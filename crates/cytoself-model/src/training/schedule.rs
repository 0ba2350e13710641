//! Learning rate, early stop and what counts as the best epoch.

use serde::{Deserialize, Serialize};

use crate::config::{PlateauRule, ScheduleConfig};

/// What an epoch's validation loss leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The lowest validation loss so far: keep these weights.
    pub best: bool,
    /// The learning rate was reduced.
    pub reduced: bool,
    /// Training should stop.
    pub stop: bool,
}

/// The state of the schedule, part of every checkpoint.
///
/// Two rules exist. `Paper` (Keras' callbacks, as the paper's training used them): both counts restart when the loss falls
/// by more than `min_delta` below the reference. `Torch` (the PyTorch code): the count that reduces the learning rate
/// restarts only at a reduction, the count that stops restarts at an improvement.
///
/// Differs from cytoself: a loss that is not a number never counts as an improvement (the PyTorch code turns it into 0,
/// which is then the best).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    #[serde(with = "crate::exact")]
    learning_rate: f64,
    #[serde(with = "crate::exact")]
    best: Option<f64>,
    #[serde(with = "crate::exact")]
    reference: Option<f64>,
    plateau: usize,
    idle: usize,
    epochs: usize,
}

impl Schedule {
    /// The state before the first epoch.
    #[must_use]
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            best: None,
            reference: None,
            plateau: 0,
            idle: 0,
            epochs: 0,
        }
    }

    /// The learning rate of the next epoch.
    #[must_use]
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// The lowest validation loss so far.
    #[must_use]
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// Takes the validation loss of the epoch that just ended.
    pub fn record(&mut self, loss: f64, config: &ScheduleConfig) -> Verdict {
        self.epochs += 1;
        let lower =
            |than: Option<f64>, by: f64| loss.is_finite() && than.is_none_or(|t| loss < t - by);
        let best = lower(self.best, 0.0);
        if best {
            self.best = Some(loss);
        }
        if self.epochs <= config.ignore_first {
            return Verdict {
                best,
                reduced: false,
                stop: false,
            };
        }
        let progress = lower(self.reference, config.min_delta);
        if progress {
            self.reference = Some(loss);
            self.idle = 0;
            if config.rule == PlateauRule::Paper {
                self.plateau = 0;
            }
        } else {
            self.plateau += 1;
            self.idle += 1;
        }
        let reduced = self.reduce(config);
        Verdict {
            best,
            reduced,
            stop: config.stop_patience > 0 && self.idle >= config.stop_patience,
        }
    }

    fn reduce(&mut self, config: &ScheduleConfig) -> bool {
        if config.patience == 0 || self.plateau < config.patience {
            return false;
        }
        self.plateau = 0;
        let before = self.learning_rate;
        self.learning_rate = (before * config.factor)
            .max(config.min_learning_rate)
            .min(before);
        self.learning_rate < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn run(
        preset: &str,
        ignore_first: usize,
        losses: &[f64],
    ) -> (Vec<f64>, Vec<bool>, Option<usize>) {
        let mut config = Config::preset(preset).unwrap().training.schedule;
        config.ignore_first = ignore_first;
        let mut schedule = Schedule::new(1.0);
        let (mut rates, mut best, mut stopped) = (Vec::new(), Vec::new(), None);
        for (epoch, &loss) in losses.iter().enumerate() {
            let verdict = schedule.record(loss, &config);
            rates.push(schedule.learning_rate());
            best.push(verdict.best);
            if verdict.stop && stopped.is_none() {
                stopped = Some(epoch);
            }
        }
        (rates, best, stopped)
    }

    #[test]
    fn the_paper_reduces_after_four_epochs_in_a_row() {
        // Three without progress, progress, then four without.
        let (rates, ..) = run(
            "paper",
            0,
            &[1.0, 1.1, 1.1, 1.1, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6],
        );
        assert_eq!(rates[7], 1.0);
        assert!((rates[8] - 0.1).abs() < 1e-12);
        assert!((rates[9] - 0.1).abs() < 1e-12);
    }

    #[test]
    fn torch_counts_across_an_improvement() {
        let (rates, ..) = run("torch-split9", 0, &[1.0, 1.1, 1.1, 1.1, 0.5, 0.6, 0.6, 0.6]);
        assert_eq!(rates[4], 1.0);
        assert!(
            (rates[5] - 0.1).abs() < 1e-12,
            "the fourth epoch without improvement"
        );
        assert!((rates[7] - 0.1).abs() < 1e-12);
    }

    #[test]
    fn tiny_gains_are_best_but_no_progress_for_the_paper() {
        let losses: Vec<f64> = (0..6).map(|i| 1.0 - 1e-5 * f64::from(i)).collect();
        let (rates, best, _) = run("paper", 0, &losses);
        assert_eq!(best, [true; 6]);
        assert!((rates[4] - 0.1).abs() < 1e-12);
        let (rates, ..) = run("torch-split9", 0, &losses);
        assert_eq!(rates[5], 1.0);
    }

    #[test]
    fn training_stops_after_twelve() {
        for preset in ["paper", "torch-split9"] {
            let mut losses = vec![1.0; 10];
            losses.push(0.5);
            losses.extend([0.9; 20]);
            assert_eq!(run(preset, 0, &losses).2, Some(10 + 12), "{preset}");
        }
        assert_eq!(run("paper", 2, &[1.0; 30]).2, Some(2 + 12));
    }

    #[test]
    fn not_a_number_is_never_best() {
        for preset in ["paper", "torch-split9"] {
            let (_, best, stopped) = run(preset, 0, &[f64::NAN; 13]);
            assert_eq!(best, [false; 13]);
            assert_eq!(stopped, Some(11));
            let (_, best, _) = run(preset, 0, &[f64::NAN, 2.0, f64::NAN, 1.0]);
            assert_eq!(best, [false, true, false, true]);
        }
    }

    #[test]
    fn the_rate_has_a_floor() {
        let (rates, ..) = run("torch-split9", 0, &[1.0; 60]);
        assert_eq!(*rates.last().unwrap(), 1e-8);
    }
}
