//! The codebook as the kernel reads it.

use crate::codebook::{Codebook, squared_norm};

/// The codes in panels of `width`, component by component, with their half squared norms.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    /// Codes side by side.
    pub(super) width: usize,
    /// Components per code.
    pub(super) dim: usize,
    /// `[panels, dim, width]`; the last panel is filled up with zeros.
    pub(super) codes: Vec<f32>,
    /// `-|c|^2 / 2`, `[panels * width]`; minus infinity for the codes that fill up the last panel, which thus never win.
    pub(super) half_norms: Vec<f32>,
    /// The largest norm of a code.
    pub(super) largest_norm: f64,
}

impl Panels {
    pub(super) fn new(codebook: &Codebook, width: usize) -> Self {
        let (codes, dim) = (codebook.codes(), codebook.dim());
        let panels = codes.div_ceil(width);
        let mut packed = vec![0.0; panels * dim * width];
        let mut half_norms = vec![f32::NEG_INFINITY; panels * width];
        let mut largest = 0.0f64;
        for (j, row) in codebook.rows().enumerate() {
            let panel = &mut packed[(j / width) * dim * width..][..dim * width];
            for (i, &value) in row.iter().enumerate() {
                panel[i * width + j % width] = value;
            }
            let norm = squared_norm(row);
            half_norms[j] = (-0.5 * norm) as f32;
            largest = largest.max(norm);
        }
        Self {
            width,
            dim,
            codes: packed,
            half_norms,
            largest_norm: largest.sqrt(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.half_norms.len() / self.width
    }
}
