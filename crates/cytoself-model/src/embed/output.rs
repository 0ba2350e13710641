//! The representations by cytoself's names.

use std::fmt;
use std::str::FromStr;

use candle_core::Tensor;
use cytoself_vq::candle::{Quantized, Tally};
use ndarray::Array2;

use super::EmbeddingValues;
use super::fetch::{Fetched, Fetcher};
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

    /// The tensor that it is, of its level.
    fn tensor(self, level: &Level) -> Result<&Tensor, ModelError> {
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
            OutputKind::Encoder => &level.encoded,
            OutputKind::Vectors => level.representation(),
            OutputKind::Histogram => &quantized()?.histogram,
            OutputKind::Indices => &quantized()?.indices,
        })
    }
}

/// The outputs of a batch where they were computed.
#[derive(Clone)]
pub(super) struct Computed {
    outputs: Vec<(OutputKind, Tensor)>,
    /// The loss of each quantiser, which is finite where its vectors are.
    losses: Vec<Tensor>,
    vectors: Vectors,
}

/// What knows which vectors are not finite.
#[derive(Clone)]
enum Vectors {
    Counted(Vec<Tally>),
    /// The batch, to be computed once more.
    #[cfg(feature = "candle-cuda")]
    Of(Tensor),
}

impl Computed {
    /// The outputs `wanted`, each of its level, and what tells whether all vectors of `levels` are finite.
    pub(super) fn new<'a>(
        wanted: &[(OutputName, &Level)],
        levels: impl Iterator<Item = &'a Level>,
    ) -> Result<Self, ModelError> {
        let output = |(name, level): &(OutputName, &Level)| {
            let tensor = name.tensor(level)?.flatten_from(1)?;
            Ok((name.kind, tensor.contiguous()?))
        };
        let quantized: Vec<&Quantized> = levels.filter_map(|l| l.quantized.as_ref()).collect();
        let tallies = quantized.iter().map(|q| q.tally.clone()).collect();
        Ok(Self {
            outputs: wanted
                .iter()
                .map(output)
                .collect::<Result<_, ModelError>>()?,
            losses: quantized
                .iter()
                .map(|q| q.commitment_loss.clone())
                .collect(),
            vectors: Vectors::Counted(tallies),
        })
    }

    /// The same tensors, which hold the results of another batch by now.
    #[cfg(feature = "candle-cuda")]
    pub(super) fn again(&self, images: &Tensor) -> Self {
        Self {
            vectors: Vectors::Of(images.clone()),
            ..self.clone()
        }
    }

    /// All results, in one order.
    #[cfg(feature = "candle-cuda")]
    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.outputs.iter().map(|(_, t)| t).chain(&self.losses)
    }

    /// Sends everything on its way.
    pub(super) fn send(self, fetcher: &Fetcher) -> Result<Started, ModelError> {
        let output = |(kind, tensor): (OutputKind, Tensor)| {
            Ok((kind, tensor.dims2()?, fetcher.fetch(&tensor)?))
        };
        let losses = self.losses.iter().map(|loss| fetcher.fetch(loss));
        Ok(Started {
            losses: losses.collect::<Result<_, ModelError>>()?,
            vectors: self.vectors,
            outputs: self
                .outputs
                .into_iter()
                .map(output)
                .collect::<Result<_, ModelError>>()?,
        })
    }
}

/// The outputs of a batch on their way to the host.
pub(super) struct Started {
    outputs: Vec<(OutputKind, (usize, usize), Fetched)>,
    losses: Vec<Fetched>,
    vectors: Vectors,
}

impl Started {
    /// A line per crop of each output, once they are here; `compute` computes a batch once more.
    pub(super) fn finish(
        self,
        compute: impl FnOnce(&Tensor) -> Result<Computed, ModelError>,
    ) -> Result<Vec<EmbeddingValues>, ModelError> {
        let mut finite = true;
        for loss in self.losses {
            finite &= loss.floats()?.iter().all(|v| v.is_finite());
        }
        if !finite {
            // Names the vector, or finds that only the square was too large.
            self.vectors.refuse_no_numbers(compute)?;
        }
        let arrived = |(kind, shape, fetched): (OutputKind, _, Fetched)| {
            Ok(match kind {
                // A codebook has at most 65536 codes: checked when the network was built.
                OutputKind::Indices => {
                    let codes = fetched.words()?.into_iter().map(|i| i as u16).collect();
                    EmbeddingValues::Indices(array(shape, codes)?)
                }
                _ => EmbeddingValues::Dense(array(shape, fetched.floats()?)?),
            })
        };
        self.outputs.into_iter().map(arrived).collect()
    }
}

impl Vectors {
    #[cfg_attr(not(feature = "candle-cuda"), allow(unused_variables))]
    fn refuse_no_numbers(
        self,
        compute: impl FnOnce(&Tensor) -> Result<Computed, ModelError>,
    ) -> Result<(), ModelError> {
        let vectors = match self {
            Self::Counted(_) => self,
            #[cfg(feature = "candle-cuda")]
            Self::Of(images) => compute(&images)?.vectors,
        };
        #[cfg_attr(not(feature = "candle-cuda"), allow(irrefutable_let_patterns))]
        if let Self::Counted(tallies) = vectors {
            for tally in tallies {
                tally.counts()?;
            }
        }
        Ok(())
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
