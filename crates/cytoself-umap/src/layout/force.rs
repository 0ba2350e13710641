//! Attraction and repulsion: the gradients of the fuzzy cross-entropy.

use crate::curve::Curve;
use crate::math::pow;
use crate::simd::Simd;

/// The forces at given squared distances; a coefficient times the difference of two points is a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forces {
    a: f32,
    b: f32,
    repulsion: f32,
}

/// Below this squared distance two points count as one.
const COINCIDENT: f32 = 1e-30;

impl Forces {
    pub(crate) fn new(curve: Curve, repulsion: f32) -> Self {
        Self {
            a: curve.a,
            b: curve.b,
            repulsion,
        }
    }

    /// -2ab d^(2b-2) / (1 + a d^2b), the gradient of log(1 / (1 + a d^2b)).
    #[inline(always)]
    pub(crate) fn attraction<S: Simd>(&self, s: S, squared: S::F) -> S::F {
        let power = pow(s, squared, self.b);
        let above = s.mul(s.splat(-2.0 * self.a * self.b), power);
        let below = s.mul(squared, self.one_plus(s, power));
        self.apart(s, s.div(above, below), squared)
    }

    /// 2 gamma b / ((0.001 + d^2)(1 + a d^2b)), the gradient of log(1 - 1 / (1 + a d^2b)) with a softened pole.
    #[inline(always)]
    pub(crate) fn repulsion<S: Simd>(&self, s: S, squared: S::F) -> S::F {
        let power = pow(s, squared, self.b);
        let softened = s.add(s.splat(0.001), squared);
        let below = s.mul(softened, self.one_plus(s, power));
        let above = s.splat(2.0 * self.repulsion * self.b);
        self.apart(s, s.div(above, below), squared)
    }

    /// 1 + a d^2b.
    #[inline(always)]
    fn one_plus<S: Simd>(&self, s: S, power: S::F) -> S::F {
        s.add(s.splat(1.0), s.mul(s.splat(self.a), power))
    }

    /// The force between points that are not one.
    #[inline(always)]
    fn apart<S: Simd>(&self, s: S, force: S::F, squared: S::F) -> S::F {
        s.keep(force, s.greater(squared, s.splat(COINCIDENT)))
    }
}

/// A step of one coordinate, at most 4 either way.
#[inline(always)]
pub(crate) fn clip<S: Simd>(s: S, v: S::F) -> S::F {
    s.max(s.min(v, s.splat(4.0)), s.splat(-4.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{LANES, Portable};

    /// log of the similarity, and log of one minus it, at distance d.
    fn logs(curve: Curve, d: f64) -> [f64; 2] {
        let s = 1.0 / (1.0 + f64::from(curve.a) * d.powf(2.0 * f64::from(curve.b)));
        [s.ln(), (1.0 - s).ln()]
    }

    #[test]
    fn forces_are_the_finite_differences_of_the_cross_entropy() {
        for min_dist in [0.0, 0.1, 0.5] {
            let curve = Curve::fit(min_dist, 1.0);
            let forces = Forces::new(curve, 1.0);
            for d in [0.3, 0.7, 1.0, 2.5, 6.0] {
                let h = 1e-5;
                let slope = |i: usize| (logs(curve, d + h)[i] - logs(curve, d - h)[i]) / (2.0 * h);
                let squared = [(d * d) as f32; LANES];
                let attraction = f64::from(forces.attraction(Portable, squared)[2]) * d;
                let repulsion = f64::from(forces.repulsion(Portable, squared)[5]) * d;
                assert!(
                    (attraction / slope(0) - 1.0).abs() < 1e-4,
                    "attraction at {d}"
                );
                // The softened pole lowers the repulsion by 0.001 / (0.001 + d^2).
                let softened = slope(1) * d * d / (0.001 + d * d);
                assert!(
                    (repulsion / softened - 1.0).abs() < 1e-4,
                    "repulsion at {d}"
                );
            }
        }
    }

    #[test]
    fn coincident_points_feel_nothing() {
        let forces = Forces::new(Curve::fit(0.1, 1.0), 1.0);
        assert_eq!(forces.attraction(Portable, [0.0; LANES]), [0.0; LANES]);
        assert_eq!(forces.repulsion(Portable, [0.0; LANES]), [0.0; LANES]);
    }
}
