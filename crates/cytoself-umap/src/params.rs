//! The parameters of a fit.

use crate::curve::Curve;
use crate::layout::DIMENSIONS;
use crate::{Init, KnnMethod, Metric, UmapError};

/// Parameters that still have to be checked, as in linfa: the unchecked type becomes the checked one.
pub trait ParamGuard {
    /// The checked parameters, which the algorithm takes.
    type Checked;

    /// Checks every range.
    ///
    /// # Errors
    /// - [`UmapError::Parameter`]: the first parameter outside its range.
    fn check(self) -> Result<Self::Checked, UmapError>;
}

/// Parameters of a UMAP, unchecked.
///
/// # Defaults
/// - `n_neighbors` 15, the point itself counted;
/// - `n_components` 2;
/// - `min_dist` 0.1, `spread` 1.0;
/// - `metric` Euclidean;
/// - `epochs` 500 up to 10,000 points, else 200;
/// - `init` spectral;
/// - `learning_rate` 1.0, `repulsion_strength` 1.0, `negative_sample_rate` 5;
/// - `set_op_mix_ratio` 1.0, `local_connectivity` 1.0;
/// - `knn` auto, `audit_sample` 1000;
/// - `disconnection_distance` none, `target_weight` 0.5;
/// - `seed` 42.
///
/// All but the last three lines are those of umap-learn.
///
/// # Example
/// ```
/// use cytoself_umap::{ParamGuard, UmapParams};
///
/// let checked = UmapParams::default().n_neighbors(30).min_dist(0.0).check()?;
/// assert_eq!(checked.n_neighbors(), 30);
/// let error = UmapParams::default().n_neighbors(1).check().unwrap_err();
/// assert_eq!(error.to_string(), "n_neighbors = 1: expected at least 2");
/// # Ok::<(), cytoself_umap::UmapError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct UmapParams(ValidUmapParams);

/// Checked parameters: what [`ParamGuard::check`] returns.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidUmapParams {
    pub(crate) n_neighbors: usize,
    pub(crate) n_components: usize,
    pub(crate) min_dist: f64,
    pub(crate) spread: f64,
    pub(crate) metric: Metric,
    pub(crate) epochs: Option<usize>,
    pub(crate) init: Init,
    pub(crate) learning_rate: f64,
    pub(crate) repulsion_strength: f64,
    pub(crate) negative_sample_rate: usize,
    pub(crate) set_op_mix_ratio: f64,
    pub(crate) local_connectivity: f64,
    pub(crate) knn: KnnMethod,
    pub(crate) audit_sample: usize,
    pub(crate) disconnection_distance: Option<f64>,
    pub(crate) target_weight: f64,
    pub(crate) seed: u64,
}

impl Default for UmapParams {
    fn default() -> Self {
        Self(ValidUmapParams {
            n_neighbors: 15,
            n_components: 2,
            min_dist: 0.1,
            spread: 1.0,
            metric: Metric::Euclidean,
            epochs: None,
            init: Init::Spectral,
            learning_rate: 1.0,
            repulsion_strength: 1.0,
            negative_sample_rate: 5,
            set_op_mix_ratio: 1.0,
            local_connectivity: 1.0,
            knn: KnnMethod::Auto,
            audit_sample: 1000,
            disconnection_distance: None,
            target_weight: 0.5,
            seed: 42,
        })
    }
}

/// Setters and getters of the same name.
macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        impl UmapParams {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $type) -> Self { self.0.$name = $name; self })*
        }
        impl ValidUmapParams {
            $($(#[$doc])* #[must_use] pub fn $name(&self) -> $type { self.$name.clone() })*
        }
    };
}

parameters! {
    /// Size of the neighbourhood, the point itself counted; at least 2. With fewer points it is their number.
    n_neighbors: usize;
    /// Dimensions of the embedding, 1 to 32.
    n_components: usize;
    /// Distance up to which points of the embedding count as equal, 0 to `spread`.
    min_dist: f64;
    /// Scale of the embedding, above 0.
    spread: f64;
    /// How far apart two points are.
    metric: Metric;
    /// Passes over the graph; `None` chooses by the number of points.
    epochs: Option<usize>;
    /// Where the layout starts.
    init: Init;
    /// First step size, above 0.
    learning_rate: f64;
    /// Weight of repulsion, at least 0.
    repulsion_strength: f64;
    /// Repulsive samples per attraction, at most 1000.
    negative_sample_rate: usize;
    /// 1 is the fuzzy union of the directed neighbourhoods, 0 their intersection.
    set_op_mix_ratio: f64;
    /// Neighbours that count as certain, at least 0; may be a fraction.
    local_connectivity: f64;
    /// How to look for neighbours.
    knn: KnnMethod;
    /// Points on which the recall of an approximate search is measured.
    audit_sample: usize;
    /// Neighbours at this distance or farther are not connected.
    disconnection_distance: Option<f64>;
    /// In a supervised fit, 0 looks at the points only and 1 at the target only.
    target_weight: f64;
    /// Seed of everything random.
    seed: u64;
}

impl ParamGuard for UmapParams {
    type Checked = ValidUmapParams;

    fn check(self) -> Result<ValidUmapParams, UmapError> {
        let p = &self.0;
        let require = |ok: bool, name, value: &dyn ToString, expected| match ok {
            true => Ok(()),
            false => Err(UmapError::parameter(name, value.to_string(), expected)),
        };
        let largest = DIMENSIONS[DIMENSIONS.len() - 1];
        let positive = |v: f64| v.is_finite() && v > 0.0;
        let share = |v: f64| (0.0..=1.0).contains(&v);
        require(
            p.n_neighbors >= 2,
            "n_neighbors",
            &p.n_neighbors,
            "at least 2",
        )?;
        require(
            (1..=largest).contains(&p.n_components),
            "n_components",
            &p.n_components,
            "1 to 32",
        )?;
        require(positive(p.spread), "spread", &p.spread, "a number above 0")?;
        require(
            (0.0..=p.spread).contains(&p.min_dist),
            "min_dist",
            &p.min_dist,
            "0 to spread",
        )?;
        require(
            p.epochs.is_none_or(|e| e < 1 << 20),
            "epochs",
            &p.epochs.unwrap_or(0),
            "below 1048576",
        )?;
        require(
            positive(p.learning_rate),
            "learning_rate",
            &p.learning_rate,
            "a number above 0",
        )?;
        require(
            p.repulsion_strength.is_finite() && p.repulsion_strength >= 0.0,
            "repulsion_strength",
            &p.repulsion_strength,
            "at least 0",
        )?;
        require(
            p.negative_sample_rate <= 1000,
            "negative_sample_rate",
            &p.negative_sample_rate,
            "at most 1000",
        )?;
        require(
            share(p.set_op_mix_ratio),
            "set_op_mix_ratio",
            &p.set_op_mix_ratio,
            "0 to 1",
        )?;
        require(
            p.local_connectivity.is_finite() && p.local_connectivity >= 0.0,
            "local_connectivity",
            &p.local_connectivity,
            "at least 0",
        )?;
        require(
            p.disconnection_distance.is_none_or(|d| d > 0.0),
            "disconnection_distance",
            &p.disconnection_distance.unwrap_or(0.0),
            "above 0",
        )?;
        require(
            share(p.target_weight),
            "target_weight",
            &p.target_weight,
            "0 to 1",
        )?;
        Ok(self.0)
    }
}

impl ValidUmapParams {
    /// Passes over the graph of `n` points.
    #[must_use]
    pub fn epochs_for(&self, n: usize) -> usize {
        self.epochs.unwrap_or(if n <= 10_000 { 500 } else { 200 })
    }

    /// The similarity curve of `min_dist` and `spread`.
    #[must_use]
    pub fn curve(&self) -> Curve {
        Curve::fit(self.min_dist, self.spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        let d = UmapParams::default;
        let bad = [
            d().n_neighbors(1),
            d().n_components(0),
            d().n_components(33),
            d().min_dist(-0.1),
            d().min_dist(1.5),
            d().spread(0.0),
            d().spread(f64::NAN),
            d().epochs(Some(1 << 20)),
            d().learning_rate(0.0),
            d().repulsion_strength(-1.0),
            d().negative_sample_rate(1001),
            d().set_op_mix_ratio(1.1),
            d().local_connectivity(f64::INFINITY),
            d().disconnection_distance(Some(0.0)),
            d().target_weight(-0.5),
        ];
        for params in bad {
            let text = format!("{params:?}");
            assert!(params.check().is_err(), "{text}");
        }
        assert!(d().check().is_ok());
    }
}
