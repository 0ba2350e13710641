//! How many of the true neighbours were found, measured on a sample.

use super::Knn;

/// Share of the true nearest neighbours that a search found, on a random sample of points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recall {
    /// Points that were searched exactly; 0 when the search was exact and nothing had to be measured.
    pub sample: usize,
    /// Found / true neighbours, the point itself not counted.
    pub value: f64,
    /// Lower end of the 95 % Wilson interval.
    pub low: f64,
    /// Upper end of the 95 % Wilson interval.
    pub high: f64,
}

impl Recall {
    /// The recall of a search over all pairs.
    pub(crate) const EXACT: Self = Self {
        sample: 0,
        value: 1.0,
        low: 1.0,
        high: 1.0,
    };

    /// Wilson's score interval, doi:10.1080/01621459.1927.10502953.
    fn wilson(sample: usize, found: usize, total: usize) -> Self {
        let (n, p) = (total.max(1) as f64, found as f64 / total.max(1) as f64);
        let z = 1.959_963_985;
        let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / (1.0 + z * z / n);
        Self {
            sample,
            value: p,
            low: (centre - half).max(0.0),
            high: (centre + half).min(1.0),
        }
    }
}

/// Compares `found` with the exact neighbours `truth` of the points `rows`.
///
/// A neighbour at the distance of the last true one counts as found: which of several equally distant points comes last
/// is a matter of ties.
pub(crate) fn audit(truth: &Knn, rows: &[usize], found: &Knn) -> Recall {
    let (mut hits, mut total) = (0, 0);
    for (t, &i) in rows.iter().enumerate() {
        let limits: Vec<f32> = truth
            .distances()
            .row(t)
            .iter()
            .copied()
            .skip(1)
            .filter(|d| d.is_finite())
            .collect();
        let Some(&limit) = limits.last() else {
            continue;
        };
        let near = found
            .distances()
            .row(i)
            .iter()
            .skip(1)
            .filter(|d| **d <= limit)
            .count();
        hits += near.min(limits.len());
        total += limits.len();
    }
    Recall::wilson(rows.len(), hits, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_interval() {
        // Values of statsmodels' proportion_confint(98, 100, method="wilson").
        let r = Recall::wilson(10, 98, 100);
        assert!(
            (r.low - 0.929_99).abs() < 1e-4 && (r.high - 0.994_50).abs() < 1e-4,
            "{r:?}"
        );
    }
}
