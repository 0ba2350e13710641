//! TensorBoard's event files, enough for scalars.

use std::io::{self, Write};

use super::history::HistoryRow;

/// Writes scalars as TensorBoard reads them.
///
/// # References
/// TensorFlow's TFRecord framing (length, masked CRC-32C, data, masked CRC-32C) around `Event` messages of protocol buffers.
///
/// # Example
/// ```
/// use cytoself_model::EventWriter;
///
/// let mut events = EventWriter::new(Vec::new(), 0.0)?;
/// events.scalars(1, 0.0, [("train/loss", 2.5)])?;
/// assert_eq!(events.into_inner().len(), 16 + 24 + 16 + 32);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct EventWriter<W: Write> {
    out: W,
}

impl<W: Write> EventWriter<W> {
    /// Starts a file; `time` is in seconds since 1970.
    ///
    /// # Errors
    /// - writing fails.
    pub fn new(out: W, time: f64) -> io::Result<Self> {
        let mut writer = Self { out };
        let mut event = time_and_step(time, 0);
        // file_version = 3
        bytes_field(&mut event, 3, b"brain.Event:2");
        writer.record(&event)?;
        Ok(writer)
    }

    /// Adds named values at a step.
    ///
    /// # Errors
    /// - writing fails.
    pub fn scalars<'a>(
        &mut self,
        step: u64,
        time: f64,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> io::Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = Vec::new();
            // Value { tag = 1, simple_value = 2 }
            bytes_field(&mut entry, 1, tag.as_bytes());
            entry.push(2 << 3 | 5);
            entry.extend((value as f32).to_le_bytes());
            bytes_field(&mut summary, 1, &entry);
        }
        let mut event = time_and_step(time, step);
        // summary = 5
        bytes_field(&mut event, 5, &summary);
        self.record(&event)?;
        self.out.flush()
    }

    /// Adds an epoch: `train/loss`, `val/loss`, ..., `lr`.
    ///
    /// # Errors
    /// - writing fails.
    pub fn epoch(&mut self, row: &HistoryRow, time: f64) -> io::Result<()> {
        let named = |prefix: &str, m: &crate::Metrics| -> Vec<(String, f64)> {
            m.iter()
                .map(|(name, value)| (format!("{prefix}/{name}"), value))
                .collect()
        };
        let mut values = named("train", &row.train);
        values.extend(named("val", &row.validation));
        values.push(("lr".to_string(), row.learning_rate));
        for (level, dead) in row.dead_codes.iter().enumerate() {
            values.push((format!("dead_codes{}", level + 1), *dead as f64));
        }
        self.scalars(
            row.epoch as u64,
            time,
            values.iter().map(|(n, v)| (n.as_str(), *v)),
        )
    }

    /// The output.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn record(&mut self, data: &[u8]) -> io::Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        self.out.write_all(&length)?;
        self.out.write_all(&masked(crc32c(&length)).to_le_bytes())?;
        self.out.write_all(data)?;
        self.out.write_all(&masked(crc32c(data)).to_le_bytes())
    }
}

/// Event { wall_time = 1 (double), step = 2 (varint) }.
fn time_and_step(time: f64, step: u64) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(time.to_le_bytes());
    if step > 0 {
        event.push(2 << 3);
        varint(&mut event, step);
    }
    event
}

fn bytes_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// TensorFlow's mask of a checksum.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: a few kilobytes per epoch.
fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| {
            if c & 1 == 1 {
                c >> 1 ^ 0x82f6_3b78
            } else {
                c >> 1
            }
        })
    };
    !data.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_the_standard() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn long_values_have_long_lengths() {
        let mut out = Vec::new();
        varint(&mut out, 300);
        assert_eq!(out, [0xac, 0x02]);
    }
}
