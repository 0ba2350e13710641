use std::collections::BTreeMap;

use crate::EvalError;

/// How well two partitions of the same points agree.
///
/// All three are 1 for equal partitions; the adjusted ones are 0 on average for unrelated ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Adjusted Rand index.
    pub ari: f64,
    /// Normalised mutual information, arithmetic mean of the entropies.
    pub nmi: f64,
    /// Adjusted mutual information, arithmetic mean of the entropies.
    pub ami: f64,
}

impl Agreement {
    /// Compares two labellings of the same points.
    ///
    /// # Errors
    /// - they differ in length, or are empty.
    ///
    /// # References
    /// Hubert & Arabie 1985, doi:10.1007/BF01908075; Vinh, Epps & Bailey, JMLR 11 (2010).
    ///
    /// # Example
    /// ```
    /// use cytoself_eval::Agreement;
    /// let found = Agreement::of(&[0, 0, 1, 1], &[0, 0, 1, 2])?;
    /// assert!((found.ari - 0.571_428_571_428_571_4).abs() < 1e-12);
    /// assert!((found.nmi - 0.8).abs() < 1e-12);
    /// assert!((found.ami - 0.571_428_571_428_571_3).abs() < 1e-12);
    /// # Ok::<(), cytoself_eval::EvalError>(())
    /// ```
    pub fn of(a: &[usize], b: &[usize]) -> Result<Self, EvalError> {
        if a.len() != b.len() {
            let what = "labels of the second partition";
            return Err(EvalError::Shape {
                what,
                expected: a.len(),
                found: b.len(),
            });
        }
        if a.is_empty() {
            return Err(EvalError::TooFew {
                what: "points in the partitions",
                needed: 1,
                found: 0,
            });
        }
        let table = Contingency::new(a, b);
        let (mutual, expected) = (
            table.mutual_information(),
            table.expected_mutual_information(),
        );
        let entropies = f64::midpoint(
            entropy(&table.rows, table.total),
            entropy(&table.columns, table.total),
        );
        // One class against one class, or all points apart in both: equal partitions by definition.
        let same =
            table.cells.len() == table.rows.len() && table.cells.len() == table.columns.len();
        let nmi = if same { 1.0 } else { ratio(mutual, entropies) };
        let ami = if same {
            1.0
        } else {
            adjusted(mutual - expected, entropies - expected)
        };
        Ok(Self {
            ari: table.adjusted_rand(),
            nmi,
            ami,
        })
    }
}

fn ratio(value: f64, by: f64) -> f64 {
    if by > 0.0 { value / by } else { 0.0 }
}

/// A quotient whose denominator is kept off zero, as in scikit-learn.
fn adjusted(value: f64, by: f64) -> f64 {
    value
        / if by < 0.0 {
            by.min(-f64::EPSILON)
        } else {
            by.max(f64::EPSILON)
        }
}

/// Sizes of the classes of both partitions and of their intersections.
struct Contingency {
    cells: Vec<((usize, usize), u64)>,
    rows: Vec<u64>,
    columns: Vec<u64>,
    total: u64,
}

impl Contingency {
    fn new(a: &[usize], b: &[usize]) -> Self {
        let (a, rows) = counted(a);
        let (b, columns) = counted(b);
        let mut cells = BTreeMap::new();
        a.iter()
            .zip(&b)
            .for_each(|(&i, &j)| *cells.entry((i, j)).or_insert(0) += 1);
        Self {
            cells: cells.into_iter().collect(),
            rows,
            columns,
            total: a.len() as u64,
        }
    }

    fn adjusted_rand(&self) -> f64 {
        let pairs = |n: u64| n as f64 * (n as f64 - 1.0) / 2.0;
        let both: f64 = self.cells.iter().map(|c| pairs(c.1)).sum();
        let (a, b): (f64, f64) = (
            self.rows.iter().map(|&n| pairs(n)).sum(),
            self.columns.iter().map(|&n| pairs(n)).sum(),
        );
        let all = pairs(self.total);
        if all == 0.0 || (both == a && both == b) {
            return 1.0;
        }
        let expected = a * b / all;
        (both - expected) / (f64::midpoint(a, b) - expected)
    }

    fn mutual_information(&self) -> f64 {
        let n = self.total as f64;
        let term = |&((i, j), count): &((usize, usize), u64)| {
            let count = count as f64;
            count / n * (count * n / (self.rows[i] as f64 * self.columns[j] as f64)).ln()
        };
        self.cells.iter().map(term).sum::<f64>().max(0.0)
    }

    /// Mean mutual information of random partitions with the same class sizes (hypergeometric model).
    fn expected_mutual_information(&self) -> f64 {
        let log_factorial = log_factorials(self.total);
        let log_factorial = |n: u64| log_factorial[n as usize];
        let n = self.total;
        let (rows, columns) = (sizes(&self.rows), sizes(&self.columns));
        let mut expected = 0.0;
        for &(a, a_times) in &rows {
            for &(b, b_times) in &columns {
                let fixed = log_factorial(a)
                    + log_factorial(b)
                    + log_factorial(n - a)
                    + log_factorial(n - b)
                    - log_factorial(n);
                let from = (a + b).saturating_sub(n).max(1);
                let sum: f64 = (from..=a.min(b))
                    .map(|both| {
                        let rest = log_factorial(both)
                            + log_factorial(a - both)
                            + log_factorial(b - both)
                            + log_factorial(n + both - a - b);
                        let information = both as f64 / n as f64
                            * (both as f64 * n as f64 / (a as f64 * b as f64)).ln();
                        information * (fixed - rest).exp()
                    })
                    .sum();
                expected += sum * (a_times * b_times) as f64;
            }
        }
        expected
    }
}

/// Labels renumbered from 0, and the size of each class.
fn counted(labels: &[usize]) -> (Vec<usize>, Vec<u64>) {
    let mut index: BTreeMap<usize, usize> = labels.iter().map(|&l| (l, 0)).collect();
    index.values_mut().zip(0..).for_each(|(i, next)| *i = next);
    let mut counts = vec![0; index.len()];
    let labels: Vec<usize> = labels.iter().map(|l| index[l]).collect();
    labels.iter().for_each(|&l| counts[l] += 1);
    (labels, counts)
}

/// Distinct sizes and how often each occurs: classes of equal size need not be summed twice.
fn sizes(counts: &[u64]) -> Vec<(u64, u64)> {
    let mut times = BTreeMap::new();
    counts
        .iter()
        .for_each(|&c| *times.entry(c).or_insert(0) += 1);
    times.into_iter().collect()
}

fn entropy(counts: &[u64], total: u64) -> f64 {
    let total = total as f64;
    counts
        .iter()
        .map(|&c| c as f64 / total)
        .map(|p| -p * p.ln())
        .sum()
}

fn log_factorials(n: u64) -> Vec<f64> {
    // Compensated, so that the table stays exact to the last bits for a million points.
    let (mut sum, mut lost) = (0.0f64, 0.0f64);
    let mut table = vec![0.0];
    for k in 1..=n {
        let term = (k as f64).ln() - lost;
        let next = sum + term;
        lost = (next - sum) - term;
        sum = next;
        table.push(sum);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degenerate_partitions() {
        let same = Agreement {
            ari: 1.0,
            nmi: 1.0,
            ami: 1.0,
        };
        assert_eq!(Agreement::of(&[3, 3, 3], &[1, 1, 1]).unwrap(), same);
        assert_eq!(Agreement::of(&[3, 4, 5], &[1, 9, 2]).unwrap(), same);
        assert_eq!(Agreement::of(&[0, 0, 1], &[5, 5, 2]).unwrap(), same);
        let none = Agreement::of(&[0, 0, 0, 0], &[0, 1, 2, 3]).unwrap();
        assert_eq!((none.ari, none.nmi), (0.0, 0.0));
        assert!(none.ami.abs() < 1e-9);
        assert!(Agreement::of(&[0], &[0, 1]).is_err());
        assert!(Agreement::of(&[], &[]).is_err());
    }
}
