//! Crops from any layout behind one trait.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{CropStore, CropTable, ImageDataFolder, IoError, ProteinFolder};

/// Crops with random access: the rows of a table and their pixels.
pub trait CropSource: Send + Sync {
    /// One row per crop.
    fn table(&self) -> &CropTable;

    /// Names of the channels, e.g. `pro`, `nuc`, `nucdist`.
    fn channels(&self) -> &[String];

    /// Height and width of a crop, px.
    fn crop_shape(&self) -> [usize; 2];

    /// Reads crops at the scale the network sees (a nuclear distance times 0.01).
    ///
    /// May be called from several threads at once; rows may come in any order and repeat.
    ///
    /// **Shapes**: `rows` and `channels` hold indices, `out` is `[rows, channels, h, w]`, row-major.
    ///
    /// # Errors
    /// - a row or channel does not exist, or `out` has another length;
    /// - the crop cannot be read.
    fn read_into(&self, rows: &[usize], channels: &[usize], out: &mut [f32])
    -> Result<(), IoError>;

    /// Reads crops as they are stored, without the network's scale; otherwise as [`CropSource::read_into`].
    ///
    /// # Errors
    /// As [`CropSource::read_into`].
    fn read_stored_into(
        &self,
        rows: &[usize],
        channels: &[usize],
        out: &mut [f32],
    ) -> Result<(), IoError> {
        self.read_into(rows, channels, out)?;
        let [h, w] = self.crop_shape();
        for (out, &channel) in out.chunks_exact_mut(h * w).zip(channels.iter().cycle()) {
            let scale = network_scale(self.channels().get(channel).map_or("", String::as_str));
            if scale != 1.0 {
                out.iter_mut().for_each(|v| *v /= scale);
            }
        }
        Ok(())
    }

    /// The file that a crop's channel is in, and the row in that file; a source that is no file has none.
    fn place(&self, row: usize, channel: usize) -> (PathBuf, usize) {
        let _ = channel;
        (PathBuf::from("crops"), row)
    }

    /// Number of crops.
    fn len(&self) -> usize {
        self.table().len()
    }

    /// Whether there are no crops.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Indices of the named channels.
    ///
    /// # Errors
    /// - there is no channel of a name.
    fn channel_indices(&self, names: &[&str]) -> Result<Vec<usize>, IoError> {
        let of = |name: &&str| {
            let missing = || {
                IoError::argument(
                    "channel",
                    format!("one of {}", self.channels().join(", ")),
                    name,
                )
            };
            self.channels()
                .iter()
                .position(|c| c == name)
                .ok_or_else(missing)
        };
        names.iter().map(of).collect()
    }
}

/// What a stored value is multiplied by before the network sees it.
///
/// The signed distance to the nuclear boundary is stored in px and enters the network as hundredths, which brings it into -1..1
/// for crops of 100 px. All other channels are stored as the network sees them.
///
/// # References
/// - cytoself, default of `intensity_adjustment`; the author's explanation is in thread 7 of the repository
#[must_use]
pub fn network_scale(channel: &str) -> f32 {
    if channel == "nucdist" { 0.01 } else { 1.0 }
}

/// Opens crops in any layout: a crop store, a folder of cytoself's per-protein arrays, or a folder of `Image_dataNN.npy`.
///
/// # Errors
/// - `path` is no folder, or holds none of the layouts;
/// - the layout's own errors.
pub fn open_crops(path: &Path) -> Result<Box<dyn CropSource>, IoError> {
    let entries = fs::read_dir(path).map_err(|e| IoError::file(path, e))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(
            entry
                .map_err(|e| IoError::file(path, e))?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    if names.iter().any(|n| n == "zarr.json") {
        return Ok(Box::new(CropStore::open(path)?));
    }
    let has = |test: &dyn Fn(&str) -> bool| names.iter().any(|n| test(n));
    if has(&|n| n.starts_with("Image_data") && n.ends_with(".npy")) {
        return Ok(Box::new(ImageDataFolder::open(path)?));
    }
    if has(&|n| n.ends_with(".npy")) {
        return Ok(Box::new(ProteinFolder::open(path)?));
    }
    let hint = "expected a crop store (crops.zarr), or a folder of <protein>_pro.npy or Image_dataNN.npy files";
    Err(IoError::missing(path, "crop data", hint))
}

/// Checks the arguments of [`CropSource::read_into`]; returns the number of values per crop and channel.
pub(crate) fn check_request(
    source: &dyn CropSource,
    rows: &[usize],
    channels: &[usize],
    out: &[f32],
) -> Result<usize, IoError> {
    if let Some(row) = rows.iter().find(|&&r| r >= source.len()) {
        return Err(IoError::argument(
            "row",
            format!("below {}", source.len()),
            row,
        ));
    }
    if let Some(channel) = channels.iter().find(|&&c| c >= source.channels().len()) {
        return Err(IoError::argument(
            "channel",
            format!("below {}", source.channels().len()),
            channel,
        ));
    }
    let [h, w] = source.crop_shape();
    let needed = rows.len() * channels.len() * h * w;
    if out.len() != needed {
        return Err(IoError::argument("length of out", needed, out.len()));
    }
    Ok(h * w)
}
