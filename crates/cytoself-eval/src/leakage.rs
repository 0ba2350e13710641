use std::collections::{BTreeMap, BTreeSet};

use crate::EvalError;

/// Ways in which the images to judge on are known to the model from training.
///
/// The protein itself is in every split by design (the model learns to name it); a score that must not profit from that
/// excludes a query's own protein.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leakage {
    /// Crops judged.
    pub tested: usize,
    /// Fields of view with crops on both sides.
    pub shared_fields: usize,
    /// Tested crops whose field was trained on: same cells' neighbours, same light, same focus.
    pub crops_of_shared_fields: usize,
    /// Tested crops whose window overlaps a trained crop of the same field: the same cells.
    pub overlapping_crops: usize,
    /// Tested crops whose plate was trained on.
    pub crops_of_shared_plates: usize,
    /// Tested crops whose protein was trained on.
    pub crops_of_shared_proteins: usize,
}

/// Where a crop comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CropOrigin {
    /// Field of view.
    pub field: usize,
    /// Plate; the same number for all where unknown.
    pub plate: usize,
    /// Protein.
    pub protein: usize,
    /// Centre in the field in pixels (y, x), where known.
    pub centre: Option<[f64; 2]>,
}

impl Leakage {
    /// Compares the crops a model was judged on with those it was trained on; windows are squares of `side` pixels.
    ///
    /// # Errors
    /// - `side` is negative or not a number.
    ///
    /// # Example
    /// ```
    /// use cytoself_eval::{CropOrigin, Leakage};
    /// let crop = |field, x| CropOrigin { field, plate: 0, protein: 0, centre: Some([0.0, x]) };
    /// let found = Leakage::between(&[crop(0, 0.0)], &[crop(0, 60.0), crop(0, 200.0), crop(1, 0.0)], 100.0)?;
    /// assert_eq!((found.shared_fields, found.crops_of_shared_fields, found.overlapping_crops), (1, 2, 1));
    /// # Ok::<(), cytoself_eval::EvalError>(())
    /// ```
    pub fn between(
        trained: &[CropOrigin],
        tested: &[CropOrigin],
        side: f64,
    ) -> Result<Self, EvalError> {
        if side.is_nan() || side < 0.0 {
            return Err(EvalError::Parameter {
                name: "side",
                found: side.to_string(),
                expected: "0 or more pixels",
            });
        }
        let mut windows: BTreeMap<usize, Vec<[f64; 2]>> = BTreeMap::new();
        for crop in trained {
            windows.entry(crop.field).or_default().extend(crop.centre);
        }
        let plates: BTreeSet<usize> = trained.iter().map(|c| c.plate).collect();
        let proteins: BTreeSet<usize> = trained.iter().map(|c| c.protein).collect();
        let count = |test: &dyn Fn(&CropOrigin) -> bool| tested.iter().filter(|c| test(c)).count();
        let shared: BTreeSet<usize> = tested
            .iter()
            .map(|c| c.field)
            .filter(|f| windows.contains_key(f))
            .collect();
        let touches =
            |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).abs() < side && (a[1] - b[1]).abs() < side;
        let overlaps = |crop: &CropOrigin| {
            let others = windows.get(&crop.field).map_or(&[][..], Vec::as_slice);
            crop.centre
                .is_some_and(|own| others.iter().any(|&other| touches(own, other)))
        };
        Ok(Self {
            tested: tested.len(),
            shared_fields: shared.len(),
            crops_of_shared_fields: count(&|c| shared.contains(&c.field)),
            overlapping_crops: count(&overlaps),
            crops_of_shared_plates: count(&|c| plates.contains(&c.plate)),
            crops_of_shared_proteins: count(&|c| proteins.contains(&c.protein)),
        })
    }
}
