//! Base64 of little-endian buffers, as the page decodes them.

use std::io::{self, Write};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes `bytes` as base64 with padding (RFC 4648).
///
/// # Errors
/// - the writer fails.
pub fn write(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    // A whole number of groups of three bytes, so that padding occurs only at the end.
    for block in bytes.chunks(3 * 4096) {
        let text: Vec<u8> = block.chunks(3).flat_map(quartet).collect();
        out.write_all(&text)?;
    }
    Ok(())
}

fn quartet(group: &[u8]) -> [u8; 4] {
    let byte = |i: usize| group.get(i).copied().unwrap_or(0);
    let word = u32::from_be_bytes([0, byte(0), byte(1), byte(2)]);
    let letter = |i: usize| {
        if i > group.len() {
            b'='
        } else {
            ALPHABET[(word >> (18 - 6 * i)) as usize & 63]
        }
    };
    [letter(0), letter(1), letter(2), letter(3)]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_examples_of_rfc_4648() {
        for (plain, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            super::write(&mut out, plain.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
