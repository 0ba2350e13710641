//! The z-stack of one channel.

use ndarray::{Array2, Array3, ArrayView2, Axis};

/// A z-stack, `[z, y, x]`, in the type it was stored in; a flat image has one slice.
#[derive(Debug, Clone, PartialEq)]
pub enum Stack {
    /// 8-bit.
    U8(Array3<u8>),
    /// 16-bit.
    U16(Array3<u16>),
    /// Floating point.
    F32(Array3<f32>),
}

impl Stack {
    /// Slices, height and width.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        let (z, y, x) = match self {
            Self::U8(s) => s.dim(),
            Self::U16(s) => s.dim(),
            Self::F32(s) => s.dim(),
        };
        [z, y, x]
    }

    /// The pixels as f32, with their values unchanged.
    #[must_use]
    pub fn to_f32(&self) -> Array3<f32> {
        match self {
            Self::U8(s) => s.mapv(f32::from),
            Self::U16(s) => s.mapv(f32::from),
            Self::F32(s) => s.clone(),
        }
    }

    /// Slice `z` as f32, with its values unchanged; `None` if there is no such slice.
    #[must_use]
    pub fn slice_f32(&self, z: usize) -> Option<Array2<f32>> {
        fn of<T: Copy + Into<f32>>(stack: &Array3<T>, z: usize) -> Option<Array2<f32>> {
            let slice: Option<ArrayView2<'_, T>> =
                (z < stack.len_of(Axis(0))).then(|| stack.index_axis(Axis(0), z));
            slice.map(|s| s.mapv(Into::into))
        }
        match self {
            Self::U8(s) => of(s, z),
            Self::U16(s) => of(s, z),
            Self::F32(s) => of(s, z),
        }
    }

    /// The largest value that the type can hold, by which integers are scaled to 0..1; 1 for floating point.
    #[must_use]
    pub fn full_scale(&self) -> f32 {
        match self {
            Self::U8(_) => 255.0,
            Self::U16(_) => 65_535.0,
            Self::F32(_) => 1.0,
        }
    }
}
