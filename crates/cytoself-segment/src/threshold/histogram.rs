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
        let bins = bins(values, low, per_unit);
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

    /// The values of ascending rank `rank` and one above, which is the same at the last rank.
    pub(super) fn ranked_pair(&self, rank: usize) -> [f64; 2] {
        let i = self.starts.partition_point(|&s| s <= rank) - 1;
        let mut values = self.values(i);
        let (_, &mut low, above) =
            values.select_nth_unstable_by(rank - self.starts[i], f64::total_cmp);
        let least = |values: &[f64]| values.iter().copied().min_by(f64::total_cmp);
        let high = least(above).or_else(|| {
            let next = (i + 1..BINS).find(|&j| self.start(j + 1) > self.start(j))?;
            least(&self.values(next))
        });
        [low, high.unwrap_or(low)]
    }
}

fn bin(value: f64, low: f64, per_unit: f64) -> usize {
    // By way of 32 bits with a sign, which is one instruction for many values at once.
    (((value - low) * per_unit) as i32).clamp(0, BINS as i32 - 1) as usize
}

fn bins(values: &[f64], low: f64, per_unit: f64) -> Vec<u16> {
    let mut out = vec![0; values.len()];
    for (out, &v) in out.iter_mut().zip(values) {
        *out = bin(v, low, per_unit) as u16;
    }
    out
}

/// Lowest and highest value, with as many running values as an instruction compares at once.
fn range(values: &[f64]) -> (f64, f64) {
    const LANES: usize = 8;
    let (mut low, mut high) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut take = |i: usize, v: f64| {
        low[i] = if v < low[i] { v } else { low[i] };
        high[i] = if v > high[i] { v } else { high[i] };
    };
    for chunk in chunks {
        (0..LANES).for_each(|i| take(i, chunk[i]));
    }
    rest.iter().for_each(|&v| take(0, v));
    let lowest = low.into_iter().fold(f64::INFINITY, f64::min);
    (lowest, high.into_iter().fold(f64::NEG_INFINITY, f64::max))
}
