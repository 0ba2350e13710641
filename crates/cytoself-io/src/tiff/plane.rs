//! One plane of pixels.

use ndarray::{Array2, ArrayView2};

/// One plane, `[y, x]`, in the type it was stored in; signed, 32-bit integer, half and double samples become f32.
#[derive(Debug, Clone, PartialEq)]
pub enum Plane {
    /// 8-bit.
    U8(Array2<u8>),
    /// 16-bit.
    U16(Array2<u16>),
    /// Floating point.
    F32(Array2<f32>),
}

impl Plane {
    /// Height and width, px.
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        let (h, w) = match self {
            Self::U8(p) => p.dim(),
            Self::U16(p) => p.dim(),
            Self::F32(p) => p.dim(),
        };
        [h, w]
    }

    /// The pixels as f32, with their values unchanged.
    #[must_use]
    pub fn to_f32(&self) -> Array2<f32> {
        match self {
            Self::U8(p) => p.mapv(f32::from),
            Self::U16(p) => p.mapv(f32::from),
            Self::F32(p) => p.clone(),
        }
    }

    /// The pixels, if they are 16-bit.
    #[must_use]
    pub fn as_u16(&self) -> Option<ArrayView2<'_, u16>> {
        match self {
            Self::U16(p) => Some(p.view()),
            _ => None,
        }
    }
}
