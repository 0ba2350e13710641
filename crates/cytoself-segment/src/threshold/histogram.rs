//! Values sorted into equal bins, so that ranks and partial sums need one bin instead of all values.

const BINS: usize = 4096;

/// Values grouped by bin; the bins are in ascending order, the values inside one are not.
pub(super) struct Binned {
    low: f64,
    per_unit: f64,
    /// Start of each bin in `values`, with one more entry at the end.
    starts: Vec<usize>,
    values: Vec<f64>,
}

impl Binned {
    /// Groups finite values; `None` when there are none or all are equal.
    pub(super) fn new(source: &[f64]) -> Option<Self> {
        let (low, high) = range(source);
        // `None` for empty input, whose range is turned inside out, as for equal values.
        if low.partial_cmp(&high) != Some(std::cmp::Ordering::Less) {
            return None;
        }
        let per_unit = BINS as f64 / (high - low);
        let mut starts = vec![0_usize; BINS + 1];
        for &v in source {
            starts[bin(v, low, per_unit) + 1] += 1;
        }
        for i in 0..BINS {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut values = vec![0.0; source.len()];
        for &v in source {
            let slot = &mut next[bin(v, low, per_unit)];
            values[*slot] = v;
            *slot += 1;
        }
        Some(Self {
            low,
            per_unit,
            starts,
            values,
        })
    }

    /// Bin of a value inside the range.
    pub(super) fn bin_of(&self, value: f64) -> usize {
        bin(value, self.low, self.per_unit)
    }

    pub(super) fn bins(&self) -> usize {
        BINS
    }

    /// The smallest value.
    pub(super) fn low(&self) -> f64 {
        self.low
    }

    /// Values below bin `i`.
    pub(super) fn start(&self, i: usize) -> usize {
        self.starts[i]
    }

    pub(super) fn values(&self, i: usize) -> &[f64] {
        &self.values[self.starts[i]..self.starts[i + 1]]
    }

    /// The value of ascending rank `rank`.
    pub(super) fn ranked(&self, rank: usize) -> f64 {
        let i = self.starts.partition_point(|&s| s <= rank) - 1;
        let mut bin = self.values(i).to_vec();
        *bin.select_nth_unstable_by(rank - self.starts[i], f64::total_cmp)
            .1
    }
}

fn bin(value: f64, low: f64, per_unit: f64) -> usize {
    (((value - low) * per_unit) as usize).min(BINS - 1)
}

fn range(values: &[f64]) -> (f64, f64) {
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    values
        .iter()
        .fold(start, |(low, high), &v| (low.min(v), high.max(v)))
}
