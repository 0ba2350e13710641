//! Finished fields, one by one on disk, until the store is put together: memory stays small, the order does not depend
//! on threads, and an interrupted run can go on.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use cytoself_io::{CropTable, FieldSpec, npy};
use ndarray::{Array5, Ix5};
use serde::{Deserialize, Serialize};

use super::field::FieldCrops;
use super::options::Options;
use super::preview;
use super::shard::hash;
use crate::cli::Failure;

/// The folder of finished fields beside the output.
pub(super) struct Parts {
    folder: PathBuf,
    /// Everything that decides about the crops but the field.
    parameters: String,
}

/// What is known about a finished field.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Summary {
    key: u64,
    pub class: String,
    pub method: String,
    pub nuclei: usize,
    pub crops: usize,
    pub outside: usize,
    pub rejected: usize,
    /// Why the field could not be used.
    pub failure: Option<String>,
    pub seconds: f64,
    pub inputs: Vec<Input>,
}

/// A file that was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Input {
    pub path: String,
    pub bytes: u64,
    /// 64-bit fingerprint of the content, in hexadecimal.
    pub fingerprint: String,
}

/// A finished field with its crops, if it has any.
pub(super) struct FieldPart {
    pub summary: Summary,
    pub crops: Option<(Array5<f32>, CropTable)>,
}

impl Parts {
    /// Opens the folder; what is in it is kept only for `--resume`.
    pub(super) fn open(options: &Options) -> Result<Self, Failure> {
        let name = options
            .out
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let folder = options.out.with_file_name(format!(".{name}.parts"));
        let context = |e: std::io::Error| Failure::from(e).context(folder.display());
        if !options.resume && folder.exists() {
            fs::remove_dir_all(&folder).map_err(context)?;
        }
        fs::create_dir_all(&folder).map_err(context)?;
        let parameters = options
            .parameters()
            .iter()
            .map(|(n, v)| format!("{n}={v};"))
            .collect();
        Ok(Self { folder, parameters })
    }

    /// Where the picture of a field is drawn.
    pub(super) fn picture(&self, field: &FieldSpec) -> PathBuf {
        self.file(field, "png")
    }

    /// What an interrupted run says.
    pub(super) fn interrupted(&self, finished: usize, fields: usize) -> Failure {
        Failure::Interrupted(format!(
            "{finished} of {fields} fields are kept in {}; run the same command with --resume to go on",
            self.folder.display()
        ))
    }

    #[cfg(test)]
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn file(&self, field: &FieldSpec, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", field.row))
    }

    /// Changes when the field's row, its files or the parameters do.
    fn key(&self, field: &FieldSpec) -> u64 {
        let mut text = format!("{}{field:?}", self.parameters);
        for path in &field.paths {
            let about = fs::metadata(path).map(|m| format!("{}{:?}", m.len(), m.modified().ok()));
            text.push_str(&about.unwrap_or_default());
        }
        hash(text.as_bytes())
    }

    /// Whether the field is finished, was not a failure, and has its picture if it is to have one.
    pub(super) fn is_done(&self, field: &FieldSpec, pictured: bool) -> bool {
        let summary = self.summary(field);
        summary.is_ok_and(|s| s.key == self.key(field) && s.failure.is_none())
            && (!pictured || self.picture(field).is_file())
    }

    fn summary(&self, field: &FieldSpec) -> Result<Summary, Failure> {
        let path = self.file(field, "json");
        let text =
            fs::read_to_string(&path).map_err(|e| Failure::from(e).context(path.display()))?;
        serde_json::from_str(&text).map_err(|e| Failure::from(e).context(path.display()))
    }

    /// Writes a finished field; the summary comes last and marks it as complete.
    pub(super) fn write(
        &self,
        field: &FieldSpec,
        result: Result<FieldCrops, Failure>,
        seconds: f64,
        inputs: Vec<Input>,
    ) -> Result<(), Failure> {
        let mut summary = Summary {
            key: self.key(field),
            seconds,
            inputs,
            ..Summary::default()
        };
        match result {
            Ok(found) => {
                if !found.table.is_empty() {
                    npy::write(&self.file(field, "npy"), &found.images)?;
                    found.table.to_csv(&self.file(field, "csv"))?;
                }
                if let Some(picture) = &found.picture {
                    preview::write(&self.picture(field), picture)?;
                }
                summary.crops = found.table.len();
                (summary.class, summary.method) = (found.class, found.method);
                (summary.nuclei, summary.outside, summary.rejected) =
                    (found.nuclei, found.outside, found.rejected);
            }
            Err(failure) => summary.failure = Some(failure.to_string()),
        }
        let (path, temporary) = (self.file(field, "json"), self.file(field, "json.partial"));
        let text = serde_json::to_string(&summary).map_err(Failure::other)?;
        fs::write(&temporary, text).map_err(|e| Failure::from(e).context(temporary.display()))?;
        fs::rename(&temporary, &path).map_err(|e| Failure::from(e).context(path.display()))
    }

    /// Reads a finished field.
    pub(super) fn read(&self, field: &FieldSpec) -> Result<FieldPart, Failure> {
        let summary = self.summary(field)?;
        if summary.crops == 0 {
            return Ok(FieldPart {
                summary,
                crops: None,
            });
        }
        let path = self.file(field, "npy");
        let images = npy::read_f32(&path)?
            .into_dimensionality::<Ix5>()
            .map_err(|e| Failure::from(e).context(path.display()))?;
        let table = CropTable::from_csv(&self.file(field, "csv"))?;
        Ok(FieldPart {
            summary,
            crops: Some((images, table)),
        })
    }

    /// Removes the folder.
    pub(super) fn remove(self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.folder)
            .map_err(|e| Failure::from(e).context(self.folder.display()))
    }
}

impl Input {
    /// Size and fingerprint of a file; what cannot be read has neither, as the failure of its field says why.
    pub(super) fn of(path: &Path) -> Self {
        let (bytes, fingerprint) = fingerprint_of(path).unwrap_or((0, fingerprint(&[])));
        Self {
            path: path.display().to_string(),
            bytes,
            fingerprint: format!("{fingerprint:016x}"),
        }
    }
}

/// Bytes of a file that are read at once.
const PIECE: u64 = 1 << 18;

/// Size and fingerprint of a file, read piece by piece.
fn fingerprint_of(path: &Path) -> std::io::Result<(u64, u64)> {
    let mut file = fs::File::open(path)?;
    let bytes = file.metadata()?.len();
    let (mut hash, mut piece) = (bytes, Vec::with_capacity(PIECE as usize));
    loop {
        piece.clear();
        if file.by_ref().take(PIECE).read_to_end(&mut piece)? == 0 {
            return Ok((bytes, hash));
        }
        hash = mixed_in(hash, &piece);
    }
}

/// A 64-bit fingerprint; not cryptographic.
fn fingerprint(content: &[u8]) -> u64 {
    let whole = content.len() as u64;
    content.chunks(PIECE as usize).fold(whole, mixed_in)
}

/// Four words at a time, as each multiplication waits for the one before it.
fn mixed_in(hash: u64, content: &[u8]) -> u64 {
    const LANES: usize = 4;
    let mix = |h: u64, word: u64| {
        (h ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    };
    let (words, rest) = content.as_chunks::<8>();
    let (blocks, words) = words.as_chunks::<LANES>();
    let mut lanes: [u64; LANES] = std::array::from_fn(|lane| hash.wrapping_add(lane as u64));
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block) {
            *lane = mix(*lane, u64::from_le_bytes(*word));
        }
    }
    let whole = lanes
        .into_iter()
        .chain(words.iter().map(|w| u64::from_le_bytes(*w)))
        .fold(hash, mix);
    rest.iter().fold(whole, |h, &b| mix(h, u64::from(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_changes_the_fingerprint() {
        let bytes: Vec<u8> = (0..99).collect();
        let mut seen = vec![fingerprint(&bytes)];
        for i in 0..99 {
            let mut changed = bytes.clone();
            changed[i] ^= 1;
            seen.push(fingerprint(&changed));
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 100);
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..600_001_u32)
            .map(|i| (i.wrapping_mul(i) >> 7) as u8)
            .collect();
        fs::write(file.path(), &bytes).unwrap();
        assert_eq!(
            fingerprint_of(file.path()).unwrap(),
            (600_001, fingerprint(&bytes))
        );
    }
}
