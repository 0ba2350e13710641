//! Codes projected on a basis without expanding them.

use ndarray::Array2;
use rayon::prelude::*;

use super::CodeSpace;
use crate::source::dense::products;
use crate::source::space::Space;

/// Products by position: each codebook vector meets the basis once, not once per point.
pub(super) fn project_codes(space: &CodeSpace<'_>, basis: &Array2<f32>) -> Array2<f32> {
    let (width, d) = (basis.nrows(), space.codebook.ncols());
    let book = space.codebook.as_standard_layout();
    let book = book.as_slice().unwrap_or(&[]);
    let mut out = Array2::<f32>::zeros((space.len(), width));
    for p in 0..space.positions {
        let part: Vec<f32> = basis
            .slice(ndarray::s![.., p * d..(p + 1) * d])
            .iter()
            .copied()
            .collect();
        let mut table = vec![0.0; space.k * width];
        let blocks = table
            .par_chunks_mut(256 * width)
            .zip(book.par_chunks(256 * d));
        blocks.for_each(|(out, vectors)| products(vectors, &part, d, out));
        let rows = out
            .as_slice_mut()
            .unwrap_or(&mut [])
            .par_chunks_mut(width)
            .with_min_len(256);
        rows.enumerate().for_each(|(i, row)| {
            let code = usize::from(space.points.codes[i * space.positions + p]);
            let add = &table[code * width..(code + 1) * width];
            row.iter_mut().zip(add).for_each(|(r, a)| *r += a);
        });
    }
    let sums: Vec<f32> = basis.rows().into_iter().map(|r| r.sum()).collect();
    for (i, mut row) in out.rows_mut().into_iter().enumerate() {
        let (mean, scale) = (space.points.mean[i], space.points.scale[i]);
        row.iter_mut()
            .zip(&sums)
            .for_each(|(v, s)| *v = (*v - mean * s) * scale);
    }
    out
}
