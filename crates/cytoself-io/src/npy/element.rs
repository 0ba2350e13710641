//! Element types and their conversion.

use std::fmt;

/// The element type of an array file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// A number type this crate converts; little or big endian.
    Number {
        /// Which type.
        kind: NumberKind,
        /// Whether the most significant byte comes first.
        big_endian: bool,
    },
    /// Fixed-width text of UTF-32 characters (`U`).
    Unicode {
        /// Characters per element.
        width: usize,
        /// Whether the most significant byte comes first.
        big_endian: bool,
    },
    /// Fixed-width bytes (`S`).
    Bytes {
        /// Bytes per element.
        width: usize,
    },
    /// Pickled Python objects (`O`).
    Object,
}

/// The number types of array files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberKind {
    /// One byte, zero or one.
    Bool,
    /// Signed 8 bits.
    I8,
    /// Unsigned 8 bits.
    U8,
    /// Signed 16 bits.
    I16,
    /// Unsigned 16 bits.
    U16,
    /// Signed 32 bits.
    I32,
    /// Unsigned 32 bits.
    U32,
    /// Signed 64 bits.
    I64,
    /// Unsigned 64 bits.
    U64,
    /// IEEE 754, 16 bits.
    F16,
    /// IEEE 754, 32 bits.
    F32,
    /// IEEE 754, 64 bits.
    F64,
}

impl NumberKind {
    /// Bytes per element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }
}

impl Dtype {
    /// Bytes per element; `None` for objects, which have no fixed size.
    #[must_use]
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Number { kind, .. } => Some(kind.size()),
            Self::Unicode { width, .. } => width.checked_mul(4),
            Self::Bytes { width } => Some(width),
            Self::Object => None,
        }
    }

    /// The type that NumPy spells `text`, e.g. `<f4`.
    pub(crate) fn named(text: &str) -> Option<Self> {
        let (order, rest) = match text.as_bytes().first()? {
            b'<' | b'|' | b'=' => (false, text.get(1..)?),
            b'>' => (true, text.get(1..)?),
            _ => (false, text),
        };
        let kind = match rest {
            "b1" | "?" => NumberKind::Bool,
            "i1" => NumberKind::I8,
            "u1" => NumberKind::U8,
            "i2" => NumberKind::I16,
            "u2" => NumberKind::U16,
            "i4" => NumberKind::I32,
            "u4" => NumberKind::U32,
            "i8" => NumberKind::I64,
            "u8" => NumberKind::U64,
            "f2" => NumberKind::F16,
            "f4" => NumberKind::F32,
            "f8" => NumberKind::F64,
            _ => return Self::parse_text(rest, order),
        };
        Some(Self::Number {
            kind,
            big_endian: order,
        })
    }

    fn parse_text(rest: &str, big_endian: bool) -> Option<Self> {
        let (letter, width) = rest.split_at_checked(1)?;
        match letter {
            "O" => Some(Self::Object),
            "U" => Some(Self::Unicode {
                width: width.parse().ok()?,
                big_endian,
            }),
            "S" | "a" => Some(Self::Bytes {
                width: width.parse().ok()?,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { kind, big_endian } => {
                write!(
                    f,
                    "{}{}",
                    format!("{kind:?}").to_lowercase(),
                    if *big_endian { " big-endian" } else { "" }
                )
            }
            Self::Unicode { width, .. } => write!(f, "text of {width} characters"),
            Self::Bytes { width } => write!(f, "text of {width} bytes"),
            Self::Object => f.write_str("pickled objects"),
        }
    }
}

/// A value on its way from one number type to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(v) => v.fmt(f),
            Self::Unsigned(v) => v.fmt(f),
            Self::Float(v) => v.fmt(f),
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust number type that arrays are read into and written from.
pub trait Element: Copy + Default + Send + Sync + 'static + sealed::Sealed {
    /// The type's spelling in a header.
    const DESCR: &'static str;
    /// The type.
    const KIND: NumberKind;

    /// The value, if this type can hold it: floating point types round, integer types take whole numbers within their range.
    #[doc(hidden)]
    fn from_number(number: Conversion) -> Option<Self>;
    /// Decodes little-endian bytes, one element.
    #[doc(hidden)]
    fn from_le(bytes: &[u8]) -> Option<Self>;
    /// Appends the little-endian bytes.
    #[doc(hidden)]
    fn to_le(self, out: &mut Vec<u8>);
}

/// A number of any type.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Conversion(pub(crate) Number);

macro_rules! integer {
    ($type:ty, $kind:ident, $descr:literal) => {
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DESCR: &'static str = $descr;
            const KIND: NumberKind = NumberKind::$kind;
            fn from_number(number: Conversion) -> Option<Self> {
                match number.0 {
                    Number::Signed(v) => v.try_into().ok(),
                    Number::Unsigned(v) => v.try_into().ok(),
                    Number::Float(v) => {
                        let cast = v as Self;
                        // 2^63 and 2^64 saturate to a value that converts back to them.
                        (cast as f64 == v && (cast != Self::MAX || size_of::<Self>() < 8))
                            .then_some(cast)
                    }
                }
            }
            fn from_le(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }
            fn to_le(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    };
}

macro_rules! float {
    ($type:ty, $kind:ident, $descr:literal) => {
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DESCR: &'static str = $descr;
            const KIND: NumberKind = NumberKind::$kind;
            fn from_number(number: Conversion) -> Option<Self> {
                Some(match number.0 {
                    Number::Signed(v) => v as Self,
                    Number::Unsigned(v) => v as Self,
                    Number::Float(v) => v as Self,
                })
            }
            fn from_le(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }
            fn to_le(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    };
}

integer!(u8, U8, "|u1");
integer!(u16, U16, "<u2");
integer!(u32, U32, "<u4");
integer!(i32, I32, "<i4");
integer!(i64, I64, "<i8");
float!(f32, F32, "<f4");
float!(f64, F64, "<f8");

/// Decodes one element of `kind`; `None` if `bytes` is not one element long.
pub(crate) fn number(kind: NumberKind, big_endian: bool, bytes: &[u8]) -> Option<Number> {
    macro_rules! of {
        ($type:ty) => {{
            let bytes = bytes.try_into().ok()?;
            if big_endian {
                <$type>::from_be_bytes(bytes)
            } else {
                <$type>::from_le_bytes(bytes)
            }
        }};
    }
    Some(match kind {
        NumberKind::Bool => Number::Unsigned(u64::from(of!(u8) != 0)),
        NumberKind::I8 => Number::Signed(of!(i8).into()),
        NumberKind::U8 => Number::Unsigned(of!(u8).into()),
        NumberKind::I16 => Number::Signed(of!(i16).into()),
        NumberKind::U16 => Number::Unsigned(of!(u16).into()),
        NumberKind::I32 => Number::Signed(of!(i32).into()),
        NumberKind::U32 => Number::Unsigned(of!(u32).into()),
        NumberKind::I64 => Number::Signed(of!(i64)),
        NumberKind::U64 => Number::Unsigned(of!(u64)),
        NumberKind::F16 => Number::Float(half_to_f32(of!(u16)).into()),
        NumberKind::F32 => Number::Float(of!(f32).into()),
        NumberKind::F64 => Number::Float(of!(f64)),
    })
}

/// One element as text; `None` if `bytes` is not one element long, empty for NaN.
pub(crate) fn number_text(kind: NumberKind, big_endian: bool, bytes: &[u8]) -> Option<String> {
    Some(match number(kind, big_endian, bytes)? {
        Number::Float(v) if v.is_nan() => String::new(),
        v => v.to_string(),
    })
}

/// IEEE 754 half precision to single precision, exact.
pub(crate) fn half_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits) & 0x3ff;
    let magnitude = match exponent {
        0 => (fraction as f32 * 2f32.powi(-24)).to_bits(),
        0x1f => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x0001, 2f32.powi(-24)),
            (0x7bff, 65504.0),
            (0x8000, -0.0),
        ] {
            assert_eq!(half_to_f32(bits).to_bits(), f32::to_bits(value));
        }
        assert_eq!(half_to_f32(0x7c00), f32::INFINITY);
        assert!(half_to_f32(0x7e00).is_nan());
    }

    #[test]
    fn integers_refuse_what_they_cannot_hold() {
        let of = |v| Conversion(Number::Float(v));
        assert_eq!(u16::from_number(of(65535.0)), Some(65535));
        assert_eq!(u16::from_number(of(65536.0)), None);
        assert_eq!(i64::from_number(of(9.3e18)), None);
        assert_eq!(i64::from_number(of(f64::NAN)), None);
        assert_eq!(u8::from_number(Conversion(Number::Signed(-1))), None);
    }
}
