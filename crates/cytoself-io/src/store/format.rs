//! What is written about a crop store, and how pixels are stored.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::IoError;
use crate::zarr::RowLayout;

/// Version of the format.
pub(super) const VERSION: u64 = 1;
/// Name of the format.
pub(super) const FORMAT: &str = "crop store";
/// Crops in one shard, which is one file.
const SHARD: usize = 512;
/// The largest crop that is read, px.
const LARGEST: usize = 1 << 26;

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PixelType {
    /// 32-bit floating point: exact.
    #[default]
    F32,
    /// 16-bit integers: half the size. Intensities in 0..1 have steps of 1/65535, distances in px have steps of 1/64 within -512..511.
    U16,
}

impl PixelType {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::U16 => "uint16",
        }
    }
}

/// How a channel's 16-bit integers become values: `stored * scale + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Coding {
    pub scale: f32,
    pub offset: f32,
}

impl Coding {
    /// The coding of a channel by its name.
    fn of(channel: &str, pixels: PixelType) -> Self {
        match (pixels, channel) {
            (PixelType::F32, _) | (PixelType::U16, "nucmask" | "mask" | "label") => Self {
                scale: 1.0,
                offset: 0.0,
            },
            (PixelType::U16, "nucdist") => Self {
                scale: 1.0 / 64.0,
                offset: -512.0,
            },
            (PixelType::U16, _) => Self {
                scale: 1.0 / 65_535.0,
                offset: 0.0,
            },
        }
    }

    /// The integer nearest to `value`, if there is one.
    pub(super) fn encode(self, value: f32) -> Option<u16> {
        let stored = ((f64::from(value) - f64::from(self.offset)) / f64::from(self.scale)).round();
        (0.0..=65_535.0).contains(&stored).then_some(stored as u16)
    }
}

/// The layout of a crop store: channels, size of crops, type of pixels, and how the crops were made.
#[derive(Debug, Clone, PartialEq)]
pub struct CropLayout {
    pub(super) channels: Vec<String>,
    pub(super) slices: usize,
    pub(super) crop: [usize; 2],
    pub(super) pixels: PixelType,
    pub(super) made: Map<String, Value>,
}

impl CropLayout {
    /// Crops of `[h, w]` px with the given channels, stored as [`PixelType::F32`].
    #[must_use]
    pub fn new(channels: &[&str], crop: [usize; 2]) -> Self {
        let channels = channels.iter().map(ToString::to_string).collect();
        Self {
            channels,
            slices: 1,
            crop,
            pixels: PixelType::F32,
            made: Map::new(),
        }
    }

    /// Type of the stored pixels.
    #[must_use]
    pub fn pixels(mut self, pixels: PixelType) -> Self {
        self.pixels = pixels;
        self
    }

    /// Slices of each crop (z); 1 is a flat crop.
    #[must_use]
    pub fn slices(mut self, slices: usize) -> Self {
        self.slices = slices;
        self
    }

    /// Records how the crops were made: a parameter and its value.
    #[must_use]
    pub fn made(mut self, name: &str, value: impl ToString) -> Self {
        self.made
            .insert(name.to_string(), Value::String(value.to_string()));
        self
    }

    pub(super) fn pixels_per_channel(&self) -> usize {
        self.slices * self.crop[0] * self.crop[1]
    }

    pub(super) fn check(&self) -> Result<(), IoError> {
        let pixels = self
            .crop
            .iter()
            .try_fold(self.slices, |n, &s| n.checked_mul(s));
        if self.channels.is_empty() || !pixels.is_some_and(|p| p > 0 && p <= LARGEST) {
            let found = format!(
                "{} channels of {} x {:?}",
                self.channels.len(),
                self.slices,
                self.crop
            );
            return Err(IoError::argument(
                "crop layout",
                "at least one channel, and 1 to 2^26 px per crop",
                found,
            ));
        }
        Ok(())
    }

    pub(super) fn codings(&self) -> Vec<Coding> {
        self.channels
            .iter()
            .map(|c| Coding::of(c, self.pixels))
            .collect()
    }

    /// Each channel of each crop is compressed on its own, so that a crop is read without its neighbours.
    pub(super) fn rows(&self) -> RowLayout {
        let [h, w] = self.crop;
        let mut axes = vec!["crop", "channel"];
        let mut row = vec![self.channels.len()];
        let mut piece = vec![1, 1];
        if self.slices > 1 {
            axes.push("z");
            row.push(self.slices);
            piece.push(self.slices);
        }
        axes.extend(["y", "x"]);
        row.extend([h, w]);
        piece.extend([h, w]);
        RowLayout {
            row,
            piece,
            shard_rows: SHARD,
            axes,
        }
    }

    /// Attributes of the store.
    pub(super) fn root_attributes(&self) -> Map<String, Value> {
        let mut root = Map::new();
        root.insert("format".into(), FORMAT.into());
        root.insert("format_version".into(), VERSION.into());
        root.insert(
            "tool".into(),
            concat!("cytoself-io ", env!("CARGO_PKG_VERSION")).into(),
        );
        root.insert("made".into(), Value::Object(self.made.clone()));
        root
    }

    /// Attributes of the array.
    pub(super) fn array_attributes(&self) -> Map<String, Value> {
        let channel = |(name, coding): (&String, Coding)| json!({"name": name, "scale": coding.scale, "offset": coding.offset});
        let channels: Vec<Value> = self
            .channels
            .iter()
            .zip(self.codings())
            .map(channel)
            .collect();
        Map::from_iter([("channels".to_string(), Value::Array(channels))])
    }

    /// The layout and codings that a store's metadata describe.
    pub(super) fn read(
        path: &Path,
        root: &Map<String, Value>,
        array: &Map<String, Value>,
        shape: &[usize],
        dtype: &str,
    ) -> Result<(Self, Vec<Coding>), IoError> {
        let fault = |place: &str, expected: &str, found: String| {
            IoError::malformed(path, place, expected, found, "")
        };
        let pixels = [PixelType::F32, PixelType::U16]
            .into_iter()
            .find(|p| p.name() == dtype);
        let pixels =
            pixels.ok_or_else(|| fault("images", "float32 or uint16", dtype.to_string()))?;
        let (slices, crop) = match *shape {
            [_, _, h, w] => (1, [h, w]),
            [_, _, z, h, w] => (z, [h, w]),
            _ => return Err(fault("images", "4 or 5 axes", format!("shape {shape:?}"))),
        };
        let (mut channels, mut codings) = (Vec::new(), Vec::new());
        for channel in array
            .get("channels")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let number = |key: &str| {
                channel
                    .get(key)
                    .and_then(Value::as_f64)
                    .filter(|v| v.is_finite())
                    .map(|v| v as f32)
            };
            let (Some(name), Some(scale), Some(offset)) = (
                channel.get("name").and_then(Value::as_str),
                number("scale"),
                number("offset"),
            ) else {
                return Err(fault(
                    "images, attribute channels",
                    "name, scale and offset of each channel",
                    channel.to_string(),
                ));
            };
            channels.push(name.to_string());
            codings.push(Coding { scale, offset });
        }
        if channels.len() != shape[1] {
            return Err(fault(
                "images, attribute channels",
                &format!("{} channels", shape[1]),
                channels.len().to_string(),
            ));
        }
        let made = root
            .get("made")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let layout = Self {
            channels,
            slices,
            crop,
            pixels,
            made,
        };
        layout.check().map_err(|_| {
            fault(
                "images",
                "at least one channel, and 1 to 2^26 px per crop",
                format!("shape {shape:?}"),
            )
        })?;
        Ok((layout, codings))
    }
}
