//! A reader of NumPy's `.npz` for the fixtures: enough for what `numpy.savez_compressed` writes.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// An array as f64.
#[derive(Debug, Clone)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// The arrays of a file; arrays of text apart.
#[derive(Clone)]
pub struct Npz {
    arrays: HashMap<String, Array>,
    texts: HashMap<String, Vec<String>>,
}

impl Npz {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (mut arrays, mut texts) = (HashMap::new(), HashMap::new());
        for (name, data) in entries(&bytes) {
            let name = name.trim_end_matches(".npy").to_string();
            let (descr, shape, body) = header(&data);
            match &*descr {
                "<f4" => {
                    drop(arrays.insert(name, numbers(shape, body, f32::from_le_bytes, f64::from)))
                }
                "<f8" => drop(arrays.insert(name, numbers(shape, body, f64::from_le_bytes, |v| v))),
                "<i8" => drop(
                    arrays.insert(name, numbers(shape, body, i64::from_le_bytes, |v| v as f64)),
                ),
                text => drop(texts.insert(name, strings(text, body))),
            }
        }
        Self { arrays, texts }
    }

    pub fn get(&self, name: &str) -> &Array {
        self.arrays
            .get(name)
            .unwrap_or_else(|| panic!("the fixture has no {name}"))
    }

    pub fn find(&self, name: &str) -> Option<&Array> {
        self.arrays.get(name)
    }

    pub fn texts(&self, name: &str) -> &[String] {
        &self.texts[name]
    }

    pub fn scalar(&self, name: &str) -> f64 {
        self.get(name).values[0]
    }
}

fn u16_at(b: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([b[at], b[at + 1]]))
}

fn u32_at(b: &[u8], at: usize) -> usize {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]) as usize
}

/// Names and contents, found through the central directory.
fn entries(zip: &[u8]) -> Vec<(String, Vec<u8>)> {
    let end = zip
        .windows(4)
        .rposition(|w| w == b"PK\x05\x06")
        .expect("a zip file");
    let (count, mut at) = (u16_at(zip, end + 10), u32_at(zip, end + 16));
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        assert_eq!(&zip[at..at + 4], b"PK\x01\x02");
        let (method, packed) = (u16_at(zip, at + 10), u32_at(zip, at + 20));
        let (name_len, extra, comment) = (
            u16_at(zip, at + 28),
            u16_at(zip, at + 30),
            u16_at(zip, at + 32),
        );
        let local = u32_at(zip, at + 42);
        let name = String::from_utf8(zip[at + 46..at + 46 + name_len].to_vec()).unwrap();
        let start = local + 30 + u16_at(zip, local + 26) + u16_at(zip, local + 28);
        let body = &zip[start..start + packed];
        let data = match method {
            0 => body.to_vec(),
            _ => {
                let mut data = Vec::new();
                flate2::read::DeflateDecoder::new(body)
                    .read_to_end(&mut data)
                    .expect("deflate");
                data
            }
        };
        found.push((name, data));
        at += 46 + name_len + extra + comment;
    }
    found
}

/// Type, shape and data of an `.npy`.
fn header(npy: &[u8]) -> (String, Vec<usize>, &[u8]) {
    let length = u16_at(npy, 8);
    let text = std::str::from_utf8(&npy[10..10 + length]).unwrap();
    let after = |key: &str| &text[text.find(key).unwrap() + key.len()..];
    let descr = after("'descr': '").split('\'').next().unwrap().to_string();
    let shape = after("'shape': (").split(')').next().unwrap();
    let shape = shape
        .split(',')
        .filter_map(|s| s.trim().parse().ok())
        .collect();
    (descr, shape, &npy[10 + length..])
}

fn numbers<T, const N: usize>(
    shape: Vec<usize>,
    body: &[u8],
    decode: impl Fn([u8; N]) -> T,
    widen: impl Fn(T) -> f64,
) -> Array {
    let values = body
        .as_chunks::<N>()
        .0
        .iter()
        .map(|c| widen(decode(*c)))
        .collect();
    Array { shape, values }
}

/// NumPy's fixed-width text: 4 bytes per character, zeros at the end.
fn strings(descr: &str, body: &[u8]) -> Vec<String> {
    let width: usize = descr
        .trim_start_matches("<U")
        .parse()
        .unwrap_or_else(|_| panic!("type {descr}"));
    let one = |c: &[u8]| {
        c.as_chunks::<4>()
            .0
            .iter()
            .filter_map(|c| char::from_u32(u32::from_le_bytes(*c)))
            .filter(|c| *c != '\0')
            .collect()
    };
    body.chunks_exact(4 * width).map(one).collect()
}
