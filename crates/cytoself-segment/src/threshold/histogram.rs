//! Counts of values in equal bins, so that a rank or a partial sum needs a closer look at one bin only.

const BINS: usize = 4096;

/// How many values fall into each of the equal bins between the lowest and the highest.
pub(super) struct Histogram<'a> {
    values: &'a [f64],
    /// Bin of every value.
    bins: Vec<u16>,
    low: f64,
    per_unit: f64,
    /// Number of values below each bin, with one more entry at the end.
    starts: Vec<usize>,
}

impl<'a> Histogram<'a> {
    /// Counts finite values; `None` when there are none or all are equal.
    pub(super) fn new(values: &'a [f64]) -> Option<Self> {
        let (low, high) = range(values);
        // An empty slice has its range turned inside out.
        if low.partial_cmp(&high) != Some(std::cmp::Ordering::Less) {
            return None;
        }
        let per_unit = BINS as f64 / (high - low);
        let bins: Vec<u16> = values
            .iter()
            .map(|&v| bin(v, low, per_unit) as u16)
            .collect();
        let mut starts = vec![0_usize; BINS + 1];
        for &i in &bins {
            starts[usize::from(i) + 1] += 1;
        }
        for i in 0..BINS {
            starts[i + 1] += starts[i];
        }
        Some(Self {
            values,
            bins,
            low,
            per_unit,
            starts,
        })
    }

    /// The smallest value.
    pub(super) fn low(&self) -> f64 {
        self.low
    }

    /// Bin of a value inside the range.
    pub(super) fn bin_of(&self, value: f64) -> usize {
        bin(value, self.low, self.per_unit)
    }

    /// Number of values below bin `i`.
    pub(super) fn start(&self, i: usize) -> usize {
        self.starts[i]
    }

    /// The values of bin `i`, in their order in the image.
    pub(super) fn values(&self, i: usize) -> Vec<f64> {
        let mut out = Vec::with_capacity(self.starts[i + 1] - self.starts[i]);
        let members = self
            .bins
            .iter()
            .zip(self.values)
            .filter(|(b, _)| usize::from(**b) == i);
        out.extend(members.map(|(_, v)| v));
        out
    }

    /// Sum of the values, less the smallest, below each bin; with one more entry at the end.
    pub(super) fn sums(&self) -> Vec<f64> {
        let mut sums = vec![0.0; BINS + 1];
        for (&i, &v) in self.bins.iter().zip(self.values) {
            sums[usize::from(i) + 1] += v - self.low;
        }
        for i in 0..BINS {
            sums[i + 1] += sums[i];
        }
        sums
    }

    /// The value of ascending rank `rank`.
    pub(super) fn ranked(&self, rank: usize) -> f64 {
        let i = self.starts.partition_point(|&s| s <= rank) - 1;
        let mut values = self.values(i);
        *values
            .select_nth_unstable_by(rank - self.starts[i], f64::total_cmp)
            .1
    }
}

fn bin(value: f64, low: f64, per_unit: f64) -> usize {
    (((value - low) * per_unit) as usize).min(BINS - 1)
}

fn range(values: &[f64]) -> (f64, f64) {
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    values.iter().fold(start, |(low, high), &v| {
        (
            if v < low { v } else { low },
            if v > high { v } else { high },
        )
    })
}
