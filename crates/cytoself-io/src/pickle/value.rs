//! Values on the machine's stack.

use std::rc::Rc;

/// Place of a container in the machine's arena.
pub(super) type Id = usize;

/// A value; containers are arena places, so that a clone is cheap and a drop never recurses.
#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    Bytes(Rc<[u8]>),
    /// A known function or class.
    Global(Global),
    /// Tuple or list.
    Sequence(Id),
    /// A NumPy array or element type under construction.
    Object(Id),
}

/// The only functions and classes that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `numpy.core.multiarray._reconstruct`
    Reconstruct,
    /// `numpy.ndarray`
    Ndarray,
    /// `numpy.dtype`
    Dtype,
    /// `numpy.core.multiarray.scalar`
    Scalar,
    /// `_codecs.encode`, by which protocol 2 spells bytes
    Encode,
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Some(Self::Reconstruct)
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Some(Self::Scalar),
            ("numpy", "ndarray") => Some(Self::Ndarray),
            ("numpy", "dtype") => Some(Self::Dtype),
            ("_codecs", "encode") => Some(Self::Encode),
            _ => None,
        }
    }
}

/// A container in the arena.
#[derive(Debug)]
pub(super) enum Container {
    Sequence(Vec<Value>),
    /// What a call of `Reconstruct` or `Dtype` made: the function, its arguments, and the state given later.
    Object {
        class: Global,
        arguments: Vec<Value>,
        state: Vec<Value>,
    },
}
