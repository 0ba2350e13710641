//! From codes to vectors and histograms.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::IoError;

/// Looks up the vector of each code.
///
/// **Shapes**: `indices` is `[n, split * h * w]`, flat in (split, h, w); `codebook` is `[k, d]`; the result is `[n, split * d * h * w]`,
/// flat in (channel, h, w), where channel `s * d + j` is dimension `j` of chunk `s`.
///
/// # Errors
/// - a row has another number of codes than `shape`;
/// - a code is not below `k`.
///
/// # Example
/// ```
/// use cytoself_io::expand_codes;
/// use ndarray::array;
/// let vectors = expand_codes(array![[1_u16, 0]].view(), array![[0.0_f32, 1.0], [2.0, 3.0]].view(), [2, 1, 1])?;
/// assert_eq!(vectors, array![[2.0, 3.0, 0.0, 1.0]]);
/// # Ok::<(), cytoself_io::IoError>(())
/// ```
pub fn expand_codes(
    indices: ArrayView2<'_, u16>,
    codebook: ArrayView2<'_, f32>,
    shape: [usize; 3],
) -> Result<Array2<f32>, IoError> {
    let [split, h, w] = shape;
    let (places, (k, d)) = (h * w, codebook.dim());
    if indices.ncols() != split * places {
        return Err(IoError::argument(
            "codes per crop",
            format!("{split} x {h} x {w}"),
            indices.ncols(),
        ));
    }
    check(indices, k)?;
    let mut out = Array2::zeros((indices.nrows(), split * d * places));
    let width = out.ncols();
    if width == 0 {
        return Ok(out);
    }
    let rows = out
        .as_slice_mut()
        .unwrap_or_default()
        .par_chunks_exact_mut(width);
    rows.enumerate().for_each(|(row, out)| {
        for s in 0..split {
            for place in 0..places {
                let code = codebook.row(usize::from(indices[[row, s * places + place]]));
                for (j, &value) in code.iter().enumerate() {
                    out[(s * d + j) * places + place] = value;
                }
            }
        }
    });
    Ok(out)
}

/// Counts how often each of `k` codes occurs in each row.
///
/// # Errors
/// - a code is not below `k`, or a row has more than 65,535 codes.
pub fn count_codes(indices: ArrayView2<'_, u16>, k: usize) -> Result<Array2<u16>, IoError> {
    check(indices, k)?;
    if indices.ncols() > usize::from(u16::MAX) {
        return Err(IoError::argument(
            "codes per crop",
            "at most 65535",
            indices.ncols(),
        ));
    }
    let mut counts = Array2::zeros((indices.nrows(), k));
    for (mut counts, codes) in counts.rows_mut().into_iter().zip(indices.rows()) {
        codes
            .iter()
            .for_each(|&code| counts[usize::from(code)] += 1);
    }
    Ok(counts)
}

fn check(indices: ArrayView2<'_, u16>, k: usize) -> Result<(), IoError> {
    match indices
        .indexed_iter()
        .find(|(_, code)| usize::from(**code) >= k)
    {
        None => Ok(()),
        Some(((row, place), code)) => Err(IoError::argument(
            format!("code at row {row}, place {place}"),
            format!("below {k}, the size of the codebook"),
            code,
        )),
    }
}
