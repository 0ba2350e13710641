//! What an embedding store holds.

use ndarray::Array2;
use serde_json::{Map, Value};

/// Version of the format.
pub(super) const VERSION: u64 = 1;
/// Name of the format.
pub(super) const FORMAT: &str = "embedding store";

/// Type and width of an array of `obsm`, or of `X`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub name: String,
    pub width: usize,
    pub codes: bool,
}

impl Part {
    pub(super) fn node(&self) -> String {
        node(&self.name)
    }
}

/// Where the array `name` is in the hierarchy.
pub(super) fn node(name: &str) -> String {
    if name == "X" {
        "/X".into()
    } else {
        format!("/obsm/{name}")
    }
}

/// The codes of one level: their shape and codebook.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Level {
    pub level: u32,
    pub shape: [usize; 3],
    pub codebook: Array2<f32>,
}

/// The layout of an embedding store: its arrays and codebooks, and how the embeddings were made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EmbeddingLayout {
    pub(super) parts: Vec<Part>,
    pub(super) levels: Vec<Level>,
    pub(super) made: Map<String, Value>,
}

impl EmbeddingLayout {
    /// Without arrays.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The codes `vqind{level}` of a level, from which `vqvec{level}` and `vqindhist{level}` are made on demand.
    ///
    /// **Shapes**: `shape` is (split, h, w), `codebook` is `[k, d]`.
    #[must_use]
    pub fn indices(mut self, level: u32, shape: [usize; 3], codebook: Array2<f32>) -> Self {
        self.parts.push(Part {
            name: format!("vqind{level}"),
            width: shape.iter().product(),
            codes: true,
        });
        self.levels.push(Level {
            level,
            shape,
            codebook,
        });
        self
    }

    /// An array of counts, u16, e.g. `vqindhist1`.
    #[must_use]
    pub fn counts(mut self, name: &str, width: usize) -> Self {
        self.parts.push(Part {
            name: name.into(),
            width,
            codes: true,
        });
        self
    }

    /// An array of f32; `X` is AnnData's main array, any other name is in `obsm`.
    #[must_use]
    pub fn dense(mut self, name: &str, width: usize) -> Self {
        self.parts.push(Part {
            name: name.into(),
            width,
            codes: false,
        });
        self
    }

    /// Records how the embeddings were made: a parameter and its value.
    #[must_use]
    pub fn made(mut self, name: &str, value: impl ToString) -> Self {
        self.made
            .insert(name.to_string(), Value::String(value.to_string()));
        self
    }
}
