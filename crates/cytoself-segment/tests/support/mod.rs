//! Reading of the real images and of the reference's results; the folder comes from `CYTOSELF_DATA`.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::DeflateDecoder;
use ndarray::Array2;

/// The data folder, or `None` (with a line saying so).
pub fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("CYTOSELF_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: CYTOSELF_DATA is not set");
    }
    folder
}

/// A grey PNG of 8 or 16 bits.
pub fn read_png(path: &Path) -> Array2<f32> {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!(
        info.color_type,
        png::ColorType::Grayscale,
        "{}",
        path.display()
    );
    let (h, w) = (info.height as usize, info.width as usize);
    let values = match info.bit_depth {
        png::BitDepth::Eight => bytes.iter().map(|&b| f32::from(b)).collect(),
        png::BitDepth::Sixteen => bytes
            .chunks(2)
            .map(|b| f32::from(u16::from_be_bytes([b[0], b[1]])))
            .collect(),
        depth => panic!("{}: {depth:?}", path.display()),
    };
    Array2::from_shape_vec((h, w), values).unwrap()
}

/// Images and label images of `nuclei_dsb2018`, in order of name.
#[allow(dead_code)]
pub fn nuclei_images(data: &Path) -> Vec<(String, Array2<f32>, Array2<u32>)> {
    let folder = data.join("nuclei_dsb2018");
    let mut names: Vec<String> = std::fs::read_dir(folder.join("images"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(".png"))
        .collect();
    names.sort();
    let read = |name: String| {
        let image = read_png(&folder.join("images").join(&name));
        let labels = read_png(&folder.join("labels").join(&name)).mapv(|v| v as u32);
        (name, image, labels)
    };
    names.into_iter().map(read).collect()
}

/// One array of an `.npz` archive, any of NumPy's bool, u16 and f32, as f64.
#[allow(dead_code)]
pub fn read_npz(path: &Path, name: &str) -> Array2<f64> {
    let bytes = std::fs::read(path).unwrap();
    let entry = npz_entry(&bytes, &format!("{name}.npy"));
    let header_length = usize::from(u16::from_le_bytes([entry[8], entry[9]]));
    let header = String::from_utf8_lossy(&entry[10..10 + header_length]).into_owned();
    let body = &entry[10 + header_length..];
    let field = |key: &str| header.split(key).nth(1).unwrap().to_string();
    let dtype: String = field("'descr': '")
        .chars()
        .take_while(|&c| c != '\'')
        .collect();
    let shape: String = field("'shape': (")
        .chars()
        .take_while(|&c| c != ')')
        .collect();
    let axes: Vec<usize> = shape
        .split(',')
        .filter_map(|s| s.trim().parse().ok())
        .collect();
    let values = match dtype.as_str() {
        "|b1" => body.iter().map(|&b| f64::from(b)).collect(),
        "<u2" => body
            .chunks(2)
            .map(|b| f64::from(u16::from_le_bytes([b[0], b[1]])))
            .collect(),
        "<f4" => body
            .chunks(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect(),
        other => panic!("{}: {other}", path.display()),
    };
    Array2::from_shape_vec((axes[0], axes[1]), values).unwrap()
}

/// The bytes of a file in a zip archive, found through the central directory.
fn npz_entry(bytes: &[u8], name: &str) -> Vec<u8> {
    let u16_at = |i: usize| usize::from(u16::from_le_bytes([bytes[i], bytes[i + 1]]));
    let u32_at = |i: usize| u32::from_le_bytes(bytes[i..i + 4].try_into().unwrap()) as usize;
    let end = (0..bytes.len() - 21)
        .rev()
        .find(|&i| bytes[i..].starts_with(b"PK\x05\x06"))
        .unwrap();
    let mut at = u32_at(end + 16);
    while bytes[at..].starts_with(b"PK\x01\x02") {
        let (name_length, local) = (u16_at(at + 28), u32_at(at + 42));
        if &bytes[at + 46..at + 46 + name_length] == name.as_bytes() {
            let start = local + 30 + u16_at(local + 26) + u16_at(local + 28);
            let packed = &bytes[start..start + u32_at(at + 20)];
            let mut out = Vec::new();
            match u16_at(at + 10) {
                0 => out.extend_from_slice(packed),
                _ => drop(DeflateDecoder::new(packed).read_to_end(&mut out).unwrap()),
            }
            return out;
        }
        at += 46 + name_length + u16_at(at + 30) + u16_at(at + 32);
    }
    panic!("no {name} in the archive")
}
