//! What a batch is measured by, under the names that cytoself uses.

/// Names of the losses and perplexities, in the order of cytoself's history.
pub const METRICS: [&str; 15] = [
    "loss",
    "fc1_loss",
    "fc2_loss",
    "perplexity1",
    "perplexity2",
    "reconstruction1_loss",
    "reconstruction2_loss",
    "vq1_loss",
    "vq1_commitment_loss",
    "vq1_quantization_loss",
    "vq1_softmax_loss",
    "vq2_loss",
    "vq2_commitment_loss",
    "vq2_quantization_loss",
    "vq2_softmax_loss",
];

/// Further measures that cytoself does not record: the share of crops whose protein a head names.
pub const EXTRA_METRICS: [&str; 2] = ["fc1_accuracy", "fc2_accuracy"];

const COUNT: usize = METRICS.len() + EXTRA_METRICS.len();

/// The measures of one batch, or their mean over batches.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Metrics(#[serde(with = "crate::exact")] [f64; COUNT]);

impl Metrics {
    /// Sets a measure; a name that does not exist changes nothing.
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        if let Some(i) = place(name) {
            self.0[i] = value;
        }
    }

    /// A measure by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        place(name).map(|i| self.0[i])
    }

    /// The total loss.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.0[0]
    }

    /// Names and values, cytoself's first.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        METRICS.into_iter().chain(EXTRA_METRICS).zip(self.0)
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.0
    }
}

fn place(name: &str) -> Option<usize> {
    METRICS
        .iter()
        .chain(&EXTRA_METRICS)
        .position(|n| *n == name)
}

/// The unweighted mean over batches, as cytoself computes it.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct MeanMetrics {
    sums: Metrics,
    batches: u64,
}

impl MeanMetrics {
    /// Adds a batch.
    pub fn add(&mut self, batch: &Metrics) {
        for (sum, value) in self.sums.0.iter_mut().zip(batch.0) {
            *sum += value;
        }
        self.batches += 1;
    }

    /// The mean of the batches added; zeros without any.
    #[must_use]
    pub fn mean(&self) -> Metrics {
        let n = self.batches.max(1) as f64;
        Metrics(self.sums.0.map(|s| s / n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_over_batches() {
        let mut mean = MeanMetrics::default();
        for loss in [1.0, 2.0, 6.0] {
            let mut m = Metrics::default();
            m.set("loss", loss);
            m.set("no_such_metric", 9.0);
            mean.add(&m);
        }
        assert_eq!(mean.mean().loss(), 3.0);
        assert_eq!(mean.mean().get("fc1_loss"), Some(0.0));
        assert_eq!(mean.mean().get("no_such_metric"), None);
    }
}
