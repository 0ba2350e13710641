//! Damaged and hostile files: no panic, no large allocation, an error or a right answer.
//!
//! Each test takes a good file, changes bytes, cuts it or writes extreme numbers over it, and reads the result.
//! `PROPTEST_CASES` sets the number of cases.

use std::path::Path;

use cytoself_io::{
    CropTable, FieldReader, Manifest, OmeCompression, OmeTiff, npy, open_crops, read_groups,
    read_png, write_ome_tiff, write_png_u16,
};
use ndarray::{Array2, Array3, Array4};
use proptest::prelude::*;

/// One change of a file.
#[derive(Debug, Clone)]
enum Change {
    Byte(usize, u8),
    Cut(usize),
    Word(usize, u32),
    Long(usize, u64),
    Repeat(usize, usize),
    Text(usize, &'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let extreme = prop::sample::select(vec![
        0_u32,
        1,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fff0,
        u32::MAX,
        1 << 16,
        1 << 28,
    ]);
    let huge = prop::sample::select(vec![0_u64, 1, u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 40]);
    let texts = prop::sample::select(vec![
        "99999999999999999999",
        "-1",
        "0",
        "4294967295",
        "\"",
        "<",
        ">",
        "&#x110000;",
        ",",
        "\n",
        "\u{fffd}",
        "NaN",
        "(",
        "'",
    ]);
    prop_oneof![
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => any::<usize>().prop_map(Change::Cut),
        3 => (any::<usize>(), extreme).prop_map(|(at, word)| Change::Word(at, word)),
        1 => (any::<usize>(), huge).prop_map(|(at, word)| Change::Long(at, word)),
        1 => (any::<usize>(), 1..64_usize).prop_map(|(at, n)| Change::Repeat(at, n)),
        2 => (any::<usize>(), texts).prop_map(|(at, text)| Change::Text(at, text)),
    ]
}

fn apply(bytes: &[u8], changes: &[Change], early: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        // Most of what is parsed is in a part of the file; `early` bounds where changes fall.
        let place = |at: usize| at % bytes.len().min(early);
        match *change {
            Change::Byte(at, byte) => {
                let at = place(at);
                bytes[at] = byte;
            }
            Change::Cut(at) => bytes.truncate(at % bytes.len()),
            Change::Word(at, word) => overwrite(&mut bytes, at % early, &word.to_le_bytes()),
            Change::Long(at, word) => overwrite(&mut bytes, at % early, &word.to_le_bytes()),
            Change::Repeat(at, n) => {
                let at = place(at);
                let piece = bytes[at..(at + n).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            Change::Text(at, text) => {
                let at = place(at);
                bytes.splice(at..(at + text.len()).min(bytes.len()), text.bytes());
            }
        }
    }
    bytes
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let at = at % bytes.len();
    for (slot, byte) in bytes[at..].iter_mut().zip(with) {
        *slot = *byte;
    }
}

/// Reads the changed bytes under the name `file` with `read`, whose errors must fill one line.
fn attempt<T>(file: &str, bytes: &[u8], read: impl Fn(&Path) -> Result<T, cytoself_io::IoError>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(file);
    std::fs::write(&path, bytes).unwrap();
    if let Err(error) = read(&path) {
        assert!(error.to_string().len() < 4000, "{error}");
    }
}

fn good(file: &str, write: impl Fn(&Path)) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(file);
    write(&path);
    std::fs::read(&path).unwrap()
}

fn tiff(compression: OmeCompression) -> Vec<u8> {
    let stack = Array4::from_shape_fn((2, 2, 9, 7), |(c, z, y, x)| {
        (c + z * 3 + y * 100 + x) as u16
    });
    let metadata = OmeTiff::new(&["pro", "nuc"])
        .pixel_size_um(0.2)
        .compression(compression);
    good("a.ome.tif", |path| {
        write_ome_tiff(path, stack.view(), &metadata).unwrap()
    })
}

/// An ImageJ file by hand: two pages, tiled is not needed.
fn imagej() -> Vec<u8> {
    let mut bytes = b"II\x2a\0".to_vec();
    bytes.extend(8_u32.to_le_bytes());
    let description = b"ImageJ=1.54f\nimages=2\nchannels=2\nunit=micron\nspacing=0.5\n\0";
    for page in 0..2_u32 {
        let start = bytes.len() as u32;
        let entries: [(u16, u16, u32, u32); 8] = [
            (256, 3, 1, 4),
            (257, 3, 1, 3),
            (258, 3, 1, 8),
            (259, 3, 1, 1),
            (270, 2, description.len() as u32, start + 114),
            (273, 4, 1, start + 114 + 64),
            (278, 3, 1, 3),
            (279, 4, 1, 12),
        ];
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(if page == 0 { start + 192 } else { 0 }.to_le_bytes());
        bytes.resize(start as usize + 114, 0);
        bytes.extend(description);
        bytes.resize(start as usize + 114 + 64, 0);
        bytes.extend(0..12_u8);
        bytes.resize(start as usize + 192, 0);
    }
    bytes
}

/// A pickled label array as NumPy writes it, protocol 4.
fn labels() -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    let mut header = b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }".to_vec();
    header.resize(0x75, b' ');
    header.push(b'\n');
    bytes.extend(header);
    bytes.extend(b"\x80\x04\x8c\x16numpy._core.multiarray\x94\x8c\x0c_reconstruct\x94\x93\x94\x8c\x05numpy\x94\x8c\x07ndarray\x94\x93\x94K\x00\x85\x94C\x01b\x94\x87\x94R\x94");
    bytes.extend(b"(K\x01K\x02K\x03\x86\x94h\x03\x8c\x05dtype\x94\x93\x94\x8c\x02O8\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ft\x94b\x89");
    bytes.extend(b"]\x94(\x8c\x02E1\x94\x8c\x01A\x94\x8c\x02er\x94h\x13h\x14Net\x94b.");
    bytes
}

#[test]
fn the_unchanged_files_are_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("A_label.npy");
    std::fs::write(&path, labels()).unwrap();
    let texts = npy::read_text(&path).unwrap();
    assert_eq!(texts.row(1).to_vec(), ["E1", "A", ""]);
    std::fs::write(&path, imagej()).unwrap();
    let field = FieldReader::default().read_file(&path).unwrap();
    assert_eq!(
        (field.channels.len(), field.stacks[1].shape()),
        (2, [1, 3, 4])
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tiff_and_ome_xml(changes in prop::collection::vec(change(), 1..6), deflate: bool) {
        let compression = if deflate { OmeCompression::Deflate } else { OmeCompression::None };
        attempt("a.ome.tif", &apply(&tiff(compression), &changes, usize::MAX), |p| FieldReader::default().limit(1 << 28).read_file(p));
    }

    #[test]
    fn imagej_tiff(changes in prop::collection::vec(change(), 1..6)) {
        attempt("a.tif", &apply(&imagej(), &changes, usize::MAX), |p| FieldReader::default().limit(1 << 28).read_file(p));
    }

    #[test]
    fn npy_headers(changes in prop::collection::vec(change(), 1..5)) {
        let bytes = good("a.npy", |p| npy::write(p, &Array3::<f32>::ones((3, 4, 5))).unwrap());
        let bytes = apply(&bytes, &changes, 128);
        attempt("a.npy", &bytes, npy::read_f32);
        attempt("a.npy", &bytes, npy::read_u16);
        attempt("a.npy", &bytes, npy::read_text);
        attempt("A_pro.npy", &bytes, |p| {
            let crops = open_crops(p.parent().unwrap_or(p))?;
            let [h, w] = crops.crop_shape();
            let mut out = vec![0.0; h * w];
            (0..crops.len().min(3)).try_for_each(|row| crops.read_into(&[row], &[0], &mut out))
        });
    }

    #[test]
    fn pickled_labels(changes in prop::collection::vec(change(), 1..6)) {
        attempt("A_label.npy", &apply(&labels(), &changes, usize::MAX), npy::read_text);
    }

    #[test]
    fn png(changes in prop::collection::vec(change(), 1..5)) {
        let bytes = good("a.png", |p| write_png_u16(p, Array2::from_elem((5, 6), 700).view()).unwrap());
        attempt("a.png", &apply(&bytes, &changes, 64), read_png);
    }

    #[test]
    fn manifests_and_tables(changes in prop::collection::vec(change(), 1..6)) {
        let text = "path,protein,fov,plate,channels,pixel_size_um,z_step_um,localization\na.tif,ATL2,1,p1,nuc;pro,0.2,0.5,er\nb.png;c.png,B,2,p1,nuc;pro,,,\n";
        let bytes = apply(text.as_bytes(), &changes, usize::MAX);
        attempt("manifest.csv", &bytes, Manifest::open);
        attempt("manifest.csv", &bytes, CropTable::from_csv);
        attempt("manifest.csv", &bytes, read_groups);
    }
}
