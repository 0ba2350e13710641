//! Checks of single settings.

use crate::ModelError;

/// Refuses 0.
pub(super) fn positive(field: &str, value: usize) -> Result<(), ModelError> {
    if value == 0 {
        Err(ModelError::config(field, "at least 1", value))
    } else {
        Ok(())
    }
}

/// Refuses even numbers.
pub(super) fn odd(field: &str, value: usize) -> Result<(), ModelError> {
    if value % 2 == 1 {
        Ok(())
    } else {
        Err(ModelError::config(field, "an odd number", value))
    }
}

/// Refuses what is not from `low` to `high`, or no number.
pub(super) fn within(field: &str, value: f64, low: f64, high: f64) -> Result<(), ModelError> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(ModelError::config(field, format!("{low} to {high}"), value))
    }
}
