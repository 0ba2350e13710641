//! The curve 1 / (1 + a d^2b) that turns distances in the embedding into similarities.

use crate::math::{exp, ln};

/// Points of the least-squares fit, as in umap-learn.
const POINTS: usize = 300;

/// Parameters of the similarity in the embedding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    /// Scale.
    pub a: f32,
    /// Half of the exponent.
    pub b: f32,
}

impl Curve {
    /// Fits the curve to 1 below `min_dist` and exp(-(d - min_dist) / spread) above, on 300 points of [0, 3 spread].
    ///
    /// # References
    /// McInnes, Healy, Melville 2018, arXiv:1802.03426, definition 11.
    ///
    /// # Example
    /// ```
    /// let curve = cytoself_umap::Curve::fit(0.1, 1.0);
    /// assert!((curve.a - 1.57694).abs() < 1e-4 && (curve.b - 0.89506).abs() < 1e-4);
    /// ```
    #[must_use]
    pub fn fit(min_dist: f64, spread: f64) -> Self {
        let targets: Vec<[f64; 2]> = (0..POINTS)
            .map(|i| {
                let x = 3.0 * spread * i as f64 / (POINTS - 1) as f64;
                [
                    x,
                    if x < min_dist {
                        1.0
                    } else {
                        exp(-(x - min_dist) / spread)
                    },
                ]
            })
            .collect();
        let [a, b] = levenberg_marquardt(&targets, [1.0, 1.0]);
        Self {
            a: a as f32,
            b: b as f32,
        }
    }
}

/// Value and derivatives by a and b at distance x.
fn value(x: f64, [a, b]: [f64; 2]) -> [f64; 3] {
    if x <= 0.0 {
        return [1.0, 0.0, 0.0];
    }
    let power = exp(2.0 * b * ln(x));
    let f = 1.0 / (1.0 + a * power);
    [f, -f * f * power, -f * f * a * power * 2.0 * ln(x)]
}

fn squares(targets: &[[f64; 2]], p: [f64; 2]) -> f64 {
    targets
        .iter()
        .map(|&[x, y]| (value(x, p)[0] - y) * (value(x, p)[0] - y))
        .sum()
}

fn levenberg_marquardt(targets: &[[f64; 2]], mut p: [f64; 2]) -> [f64; 2] {
    let mut damping = 1e-3;
    let mut best = squares(targets, p);
    for _ in 0..500 {
        let (mut jtj, mut jtr) = ([0.0; 3], [0.0; 2]);
        for &[x, y] in targets {
            let [f, da, db] = value(x, p);
            jtj = [jtj[0] + da * da, jtj[1] + da * db, jtj[2] + db * db];
            jtr = [jtr[0] + da * (f - y), jtr[1] + db * (f - y)];
        }
        let (aa, bb) = (jtj[0] * (1.0 + damping), jtj[2] * (1.0 + damping));
        let determinant = aa * bb - jtj[1] * jtj[1];
        let step = [
            (bb * jtr[0] - jtj[1] * jtr[1]) / determinant,
            (aa * jtr[1] - jtj[1] * jtr[0]) / determinant,
        ];
        let next = [p[0] - step[0], p[1] - step[1]];
        let error = if next[0] > 0.0 && next[1] > 0.0 {
            squares(targets, next)
        } else {
            f64::INFINITY
        };
        if error <= best {
            let done = best - error <= 1e-15 * best;
            (p, best, damping) = (next, error, (damping * 0.3).max(1e-12));
            if done {
                break;
            }
        } else {
            damping *= 4.0;
            if damping > 1e12 {
                break;
            }
        }
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_umap_learn() {
        // min_dist -> (a, b) of umap-learn's find_ab_params with spread 1.
        let table = [
            (0.0, 1.93281, 0.79050),
            (0.01, 1.89561, 0.80064),
            (0.1, 1.576_943_5, 0.895_060_9),
            (0.5, 0.58303, 1.33417),
            (0.99, 0.11931, 1.91639),
        ];
        for (min_dist, a, b) in table {
            let curve = Curve::fit(min_dist, 1.0);
            assert!(
                (curve.a - a).abs() < 1e-3 && (curve.b - b).abs() < 1e-3,
                "{min_dist}: {curve:?}"
            );
        }
    }
}
