//! Just enough of NumPy's `.npz` for the fixtures: a zip archive with deflated members and no zip64.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use candle_core::{Device, Tensor};
use flate2::read::DeflateDecoder;

/// The members of an archive, still packed.
pub struct Npz {
    bytes: Vec<u8>,
    /// Name to (offset of the local header, packed size, method).
    members: BTreeMap<String, (usize, usize, u16)>,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

impl Npz {
    pub fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let end = bytes
            .windows(4)
            .rposition(|w| w == b"PK\x05\x06")
            .expect("end of the zip directory");
        let mut at = u32_at(&bytes, end + 16);
        let mut members = BTreeMap::new();
        for _ in 0..u16_at(&bytes, end + 10) {
            let lengths = [28, 30, 32].map(|o| usize::from(u16_at(&bytes, at + o)));
            let name = String::from_utf8(bytes[at + 46..at + 46 + lengths[0]].to_vec()).unwrap();
            let member = (
                u32_at(&bytes, at + 42),
                u32_at(&bytes, at + 20),
                u16_at(&bytes, at + 10),
            );
            members.insert(name, member);
            at += 46 + lengths.iter().sum::<usize>();
        }
        Self { bytes, members }
    }

    /// The array `name`, f32 or i64.
    pub fn get(&self, name: &str) -> Tensor {
        let &(header, packed, method) = self
            .members
            .get(&format!("{name}.npy"))
            .unwrap_or_else(|| panic!("no array {name}"));
        let skip = usize::from(u16_at(&self.bytes, header + 26))
            + usize::from(u16_at(&self.bytes, header + 28));
        let packed = &self.bytes[header + 30 + skip..][..packed];
        let mut npy = Vec::new();
        match method {
            0 => npy.extend_from_slice(packed),
            8 => drop(DeflateDecoder::new(packed).read_to_end(&mut npy).unwrap()),
            other => panic!("{name}: compression method {other}"),
        }
        let start = 10 + usize::from(u16_at(&npy, 8));
        let header = std::str::from_utf8(&npy[10..start]).unwrap();
        assert!(header.contains("'fortran_order': False"));
        let shape = header.split_once('(').unwrap().1.split_once(')').unwrap().0;
        let shape: Vec<usize> = shape
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(|s| s.parse().unwrap())
            .collect();
        let values = &npy[start..];
        if header.contains("'<f4'") {
            let values = values
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect::<Vec<_>>();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        } else {
            assert!(header.contains("'<i8'"), "{header}");
            let values = values
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
                .collect::<Vec<_>>();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        }
    }
}
