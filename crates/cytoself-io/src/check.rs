//! Looking for pixels that are not numbers.

use std::ops::ControlFlow;

use crate::{CropSource, IoError};

/// Crops that are read at a time.
const BLOCK: usize = 256;

/// Looks at every pixel of `rows` and fails at the first that is not a finite number.
///
/// # Errors
/// - a pixel is NaN or infinite: the error names the file, the channel, the row in that file and the pixel;
/// - the crops cannot be read;
/// - `progress` breaks: [`IoError::Cancelled`].
///
/// # Example
/// ```
/// use cytoself_io::{check_finite, npy, open_crops};
/// use ndarray::Array3;
/// let dir = tempfile::tempdir()?;
/// let mut crops = Array3::<f32>::zeros((3, 4, 4));
/// crops[[2, 1, 3]] = f32::NAN;
/// npy::write(&dir.path().join("ATL2_pro.npy"), &crops)?;
/// let source = open_crops(dir.path())?;
/// let error = check_finite(&*source, &[0, 1, 2], &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap_err();
/// assert!(error.to_string().contains("ATL2_pro.npy: channel pro, row 2: pixel (y 1, x 3) is NaN"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_finite(
    source: &dyn CropSource,
    rows: &[usize],
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), IoError> {
    let [h, w] = source.crop_shape();
    let channels: Vec<usize> = (0..source.channels().len()).collect();
    let crop = channels.len() * h * w;
    let mut pixels = Vec::new();
    for (block, rows_now) in rows.chunks(BLOCK).enumerate() {
        if progress((block * BLOCK) as u64, rows.len() as u64).is_break() {
            return Err(IoError::Cancelled);
        }
        pixels.resize(rows_now.len() * crop, 0.0);
        source.read_into(rows_now, &channels, &mut pixels)?;
        if let Some(at) = pixels.iter().position(|v| !v.is_finite()) {
            let (row, channel, pixel) = (rows_now[at / crop], at % crop / (h * w), at % (h * w));
            let (path, row) = source.place(row, channel);
            let channel = source.channels()[channel].clone();
            return Err(IoError::NotFinite {
                path,
                channel,
                row,
                y: pixel / w,
                x: pixel % w,
                value: pixels[at],
            });
        }
    }
    Ok(())
}
