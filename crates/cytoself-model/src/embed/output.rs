//! The representations by cytoself's names.

use std::fmt;
use std::str::FromStr;

use candle_core::Tensor;
use ndarray::Array2;

use super::EmbeddingValues;
use crate::ModelError;
use crate::model::Level;

/// Which representation of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// The encoder's output.
    Encoder,
    /// The quantised vectors (the encoder's output where quantisation is off).
    Vectors,
    /// The code indices.
    Indices,
    /// How often each code occurs in the crop.
    Histogram,
}

/// A representation by cytoself's name: `encoder1`, `vqvec2`, `vqind1`, `vqindhist1`, ...
///
/// # Example
/// ```
/// use cytoself_model::{OutputKind, OutputName};
/// let name: OutputName = "vqindhist1".parse()?;
/// assert_eq!((name.kind(), name.level()), (OutputKind::Histogram, 1));
/// assert_eq!(name.to_string(), "vqindhist1");
/// # Ok::<(), cytoself_model::ModelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutputName {
    kind: OutputKind,
    level: usize,
}

const KINDS: [(&str, OutputKind); 4] = [
    ("encoder", OutputKind::Encoder),
    ("vqvec", OutputKind::Vectors),
    ("vqindhist", OutputKind::Histogram),
    ("vqind", OutputKind::Indices),
];

impl OutputName {
    /// Which representation.
    #[must_use]
    pub fn kind(self) -> OutputKind {
        self.kind
    }

    /// Another representation of the same level.
    #[must_use]
    pub fn with_kind(self, kind: OutputKind) -> Self {
        Self { kind, ..self }
    }

    /// Of which level, 1 or 2.
    #[must_use]
    pub fn level(self) -> usize {
        self.level
    }

    /// A line per crop.
    pub(super) fn values(self, level: &Level) -> Result<EmbeddingValues, ModelError> {
        let quantized = || {
            let off = || {
                ModelError::config(
                    format!("--outputs {self}"),
                    "a network that quantises",
                    "quantisation is off",
                )
            };
            level.quantized.as_ref().ok_or_else(off)
        };
        Ok(match self.kind {
            OutputKind::Encoder => EmbeddingValues::Dense(lines(&level.encoded)?),
            OutputKind::Vectors => EmbeddingValues::Dense(lines(level.representation())?),
            OutputKind::Histogram => EmbeddingValues::Dense(lines(&quantized()?.histogram)?),
            OutputKind::Indices => EmbeddingValues::Indices(index_lines(&quantized()?.indices)?),
        })
    }
}

impl FromStr for OutputName {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let level = match text.as_bytes().last() {
            Some(b'1') => 1,
            Some(b'2') => 2,
            _ => return Err(unknown(text)),
        };
        let kind = KINDS
            .iter()
            .find(|(name, _)| *name == &text[..text.len() - 1])
            .map(|(_, kind)| *kind);
        kind.map(|kind| Self { kind, level })
            .ok_or_else(|| unknown(text))
    }
}

fn unknown(text: &str) -> ModelError {
    let expected = "encoder, vqvec, vqind or vqindhist followed by the level 1 or 2, e.g. vqvec2";
    ModelError::config("output", expected, text)
}

impl fmt::Display for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS
            .iter()
            .find(|(_, kind)| *kind == self.kind)
            .map_or("", |(name, _)| name);
        write!(f, "{name}{}", self.level)
    }
}

fn lines(t: &Tensor) -> Result<Array2<f32>, ModelError> {
    let flat = t.flatten_from(1)?;
    array(flat.dims2()?, flat.flatten_all()?.to_vec1()?)
}

fn index_lines(t: &Tensor) -> Result<Array2<u16>, ModelError> {
    let flat = t.flatten_from(1)?;
    // A codebook has at most 65536 codes: checked when the network was built.
    let values = flat
        .flatten_all()?
        .to_vec1::<u32>()?
        .into_iter()
        .map(|i| i as u16)
        .collect();
    array(flat.dims2()?, values)
}

fn array<T>(shape: (usize, usize), values: Vec<T>) -> Result<Array2<T>, ModelError> {
    let found = values.len();
    Array2::from_shape_vec(shape, values).map_err(|e| ModelError::Shape {
        what: "representation".to_string(),
        expected: vec![shape.0, shape.1],
        found: vec![found],
        hint: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_nonsense_is_refused() {
        for name in [
            "encoder1",
            "encoder2",
            "vqvec1",
            "vqvec2",
            "vqind1",
            "vqind2",
            "vqindhist1",
            "vqindhist2",
        ] {
            assert_eq!(name.parse::<OutputName>().unwrap().to_string(), name);
        }
        for name in ["", "2", "vqvec", "vqvec3", "umap1", "é1"] {
            assert!(name.parse::<OutputName>().is_err(), "{name}");
        }
    }
}
