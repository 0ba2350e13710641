//! Fields of view from real and from written files.

use std::path::{Path, PathBuf};

use cytoself_io::{
    AxesSource, FieldOfView, FieldReader, Manifest, OmeCompression, OmeTiff, Stack, TiffStack,
    read_field, write_ome_tiff,
};
use ndarray::Array4;
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, colortype};

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("CYTOSELF_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: CYTOSELF_DATA is not set");
    }
    folder
}

fn sums(field: &FieldOfView) -> Vec<u64> {
    let sum = |s: &Stack| match s {
        Stack::U8(s) => s.iter().map(|&v| u64::from(v)).sum(),
        Stack::U16(s) => s.iter().map(|&v| u64::from(v)).sum(),
        Stack::F32(s) => s.iter().map(|&v| v as u64).sum(),
    };
    field.stacks.iter().map(sum).collect()
}

/// Shapes [c, z, y, x] and the sum of each channel as read by tifffile 2026.3.3.
#[test]
fn every_real_field_opens_with_the_right_axes() {
    let Some(folder) = data().map(|d| d.join("fields")) else {
        return;
    };
    let expected: [(&str, [usize; 4], &[u64]); 16] = [
        (
            "cellprofiler/ExampleHuman/AS_09125_050116030001_D03f00d0.tif",
            [1, 1, 512, 512],
            &[4533639],
        ),
        (
            "cellprofiler/ExampleHuman/AS_09125_050116030001_D03f00d1.tif",
            [1, 1, 512, 512],
            &[2766334],
        ),
        (
            "cellprofiler/ExampleHuman/AS_09125_050116030001_D03f00d2.tif",
            [1, 1, 512, 512],
            &[7433905],
        ),
        (
            "cellprofiler/ExampleSpeckles/1-162hrh2ax2.tif",
            [1, 1, 1000, 1200],
            &[944621391],
        ),
        (
            "cellprofiler/ExampleSpeckles/1-162hrhoe2.tif",
            [1, 1, 1000, 1200],
            &[551636230],
        ),
        (
            "multichannel_misc/BBBC022_IXMtest_A02_s9.tif",
            [3, 1, 395, 695],
            &[51840778, 78651621, 72992341],
        ),
        (
            "multichannel_misc/xyc_16bit__cell_dna_mts_actin.tif",
            [3, 1, 350, 350],
            &[16115637, 20828118, 115032456],
        ),
        (
            "multichannel_misc/xyc_16bit__hela-cells.tif",
            [3, 1, 512, 672],
            &[135240926, 135315934, 122963586],
        ),
        (
            "multichannel_misc/xyc_16bit__nuclei_golgi.tif",
            [2, 1, 220, 204],
            &[7172221, 3237339],
        ),
        (
            "multichannel_misc/xyc_16bit__nuclei_tubulin_crop.tif",
            [2, 1, 156, 163],
            &[857317933, 842523946],
        ),
        (
            "multichannel_misc/xyc_16bit__nup_nuclei.tif",
            [2, 1, 420, 476],
            &[15201747, 43455184],
        ),
        (
            "multichannel_misc/xyc_16bit__nup_nuclei__xy_8bit_labels__nuclei.tif",
            [1, 1, 420, 476],
            &[107172],
        ),
        (
            "multichannel_misc/xyc_8bit__cyto_nuclei.tif",
            [2, 1, 254, 182],
            &[304019, 86328],
        ),
        (
            "multichannel_misc/xyc_8bit__nuclei_nup.tif",
            [2, 1, 512, 512],
            &[5276258, 205414],
        ),
        (
            "multichannel_misc/xyz_calibrated_16bit__golgi_bfa.tif",
            [1, 25, 137, 147],
            &[28822807],
        ),
        (
            "multichannel_misc/xyzc_16bit__dna_conf_wf.tif",
            [2, 45, 130, 133],
            &[348677558, 750937956],
        ),
    ];
    for (file, [c, z, y, x], channels) in expected {
        let field = FieldReader::default()
            .read_file(&folder.join(file))
            .unwrap();
        assert_eq!(
            (field.stacks.len(), field.stacks[0].shape()),
            (c, [z, y, x]),
            "{file}"
        );
        assert_eq!(sums(&field), channels, "{file}");
    }
    let stack =
        TiffStack::open(&folder.join("multichannel_misc/xyzc_16bit__dna_conf_wf.tif")).unwrap();
    assert_eq!(stack.axes_source(), AxesSource::ImageJ);
    assert!((stack.pixel_size_um().unwrap() - 1.0 / 1.953591).abs() < 1e-12);
    assert!((stack.z_step_um().unwrap() - 0.4994126016284111).abs() < 1e-12);
    for colour in ["blue", "green", "red", "yellow"] {
        let field = FieldReader::default()
            .read_file(&folder.join(format!("hpa_57_F11_1/57_F11_1_{colour}.png")))
            .unwrap();
        assert_eq!(field.stacks[0].shape(), [1, 1728, 1728]);
    }
}

#[test]
fn the_opencell_stack_has_its_channels_in_halves() {
    let Some(folder) = data().map(|d| d.join("opencell/mock_ometiff")) else {
        return;
    };
    let path = folder.join("A1_1_ATL2__mock.ome.tif");
    let stack = TiffStack::open(&path).unwrap();
    assert_eq!(stack.axes_source(), AxesSource::MicroManager);
    assert_eq!(
        (stack.channels().len(), stack.slices(), stack.shape()),
        (2, 51, [103, 103])
    );
    let field = FieldReader::default().read_file(&path).unwrap();
    assert_eq!(sums(&field), [629737220, 510440230]);
    let sum = |c, z| {
        stack
            .read_plane(c, z, 0)
            .unwrap()
            .as_u16()
            .unwrap()
            .iter()
            .map(|&v| u64::from(v))
            .sum::<u64>()
    };
    assert_eq!(
        [sum(0, 0), sum(1, 0), sum(0, 50), sum(1, 50)],
        [7328539, 7102037, 8047054, 7711936]
    );
}

#[test]
fn a_manifest_joins_files_and_checks_channels() {
    let Some(folder) = data().map(|d| d.join("fields")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let hpa = folder.join("hpa_57_F11_1/57_F11_1_").display().to_string();
    let misc = folder.join("multichannel_misc").display().to_string();
    let text = format!(
        "path,protein,fov,channels,pixel_size_um\n{hpa}blue.png;{hpa}green.png,X,hpa,nuc;pro,0.08\n\
         {misc}/xyc_16bit__nup_nuclei.tif,NUP,nup,pro;nuc,\n{misc}/xyc_16bit__nup_nuclei.tif,NUP,bad,pro;nuc;er,\n\
         {hpa}blue.png;{misc}/xyc_16bit__nup_nuclei.tif,X,mixed,nuc;pro,\n"
    );
    let path = dir.path().join("manifest.csv");
    std::fs::write(&path, text).unwrap();
    let manifest = Manifest::open(&path).unwrap();
    let field = read_field(&manifest.fields()[0]).unwrap();
    assert_eq!(field.channels, ["nuc", "pro"]);
    assert_eq!(field.pixel_size_um, Some(0.08));
    assert_eq!(field.channel("pro").unwrap().shape(), [1, 1728, 1728]);
    assert_eq!(
        read_field(&manifest.fields()[1]).unwrap().channels,
        ["pro", "nuc"]
    );
    let error = read_field(&manifest.fields()[2]).unwrap_err().to_string();
    assert!(
        error.contains("expected 3 (pro;nuc;er), as row 2") && error.contains("found 2"),
        "{error}"
    );
    let error = read_field(&manifest.fields()[3]).unwrap_err().to_string();
    assert!(error.contains("expected one, found 2 channels"), "{error}");
}

fn stack() -> Array4<u16> {
    Array4::from_shape_fn((2, 3, 37, 41), |(c, z, y, x)| {
        (c * 30_000 + z * 5000 + y * 100 + x * x) as u16
    })
}

#[test]
fn written_stacks_read_back() {
    let dir = tempfile::tempdir().unwrap();
    for compression in [OmeCompression::None, OmeCompression::Deflate] {
        let path = dir.path().join(format!("{compression:?}.ome.tif"));
        let metadata = OmeTiff::new(&["pro<1>", "nuc"])
            .pixel_size_um(0.2)
            .z_step_um(0.5)
            .compression(compression)
            .description("a & b");
        write_ome_tiff(&path, stack().view(), &metadata).unwrap();
        let field = FieldReader::default().read_file(&path).unwrap();
        assert_eq!(field.channels, ["pro<1>", "nuc"]);
        assert_eq!(
            (field.pixel_size_um, field.z_step_um),
            (Some(0.2), Some(0.5))
        );
        for (c, read) in field.stacks.iter().enumerate() {
            assert_eq!(
                *read,
                Stack::U16(stack().index_axis(ndarray::Axis(0), c).to_owned())
            );
        }
        let error = FieldReader::default()
            .limit(1000)
            .read_file(&path)
            .unwrap_err()
            .to_string();
        assert!(error.contains("allow more memory"), "{error}");
    }
}

fn encode(path: &Path, compression: Compression, values: &[u16]) {
    let mut file = std::fs::File::create(path).unwrap();
    let mut encoder = TiffEncoder::new(&mut file)
        .unwrap()
        .with_compression(compression);
    encoder
        .write_image::<colortype::Gray16>(41, 37, values)
        .unwrap();
}

#[test]
fn files_of_another_encoder_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let stack = stack();
    let plane = stack
        .index_axis(ndarray::Axis(0), 1)
        .index_axis(ndarray::Axis(0), 2)
        .to_owned();
    let path = dir.path().join("a.tif");
    for (name, compression) in [
        ("none", Compression::Uncompressed),
        ("lzw", Compression::Lzw),
        ("deflate", Compression::Deflate(DeflateLevel::Balanced)),
        ("packbits", Compression::Packbits),
    ] {
        encode(&path, compression, plane.as_slice().unwrap());
        let read = TiffStack::open(&path).unwrap().read_plane(0, 0, 0).unwrap();
        assert_eq!(read.as_u16().unwrap(), plane, "{name}");
    }
    let mut file = std::fs::File::create(&path).unwrap();
    let mut encoder = TiffEncoder::new_big(&mut file)
        .unwrap()
        .with_compression(Compression::Lzw);
    let floats: Vec<f32> = plane.iter().map(|&v| f32::from(v) / 7.0).collect();
    encoder
        .write_image::<colortype::Gray32Float>(41, 37, &floats)
        .unwrap();
    let colours: Vec<u8> = (0..41 * 37 * 3).map(|i| (i % 251) as u8).collect();
    drop(file);
    let read = TiffStack::open(&path).unwrap().read_plane(0, 0, 0).unwrap();
    assert_eq!(read.to_f32().into_raw_vec_and_offset().0, floats);
    let mut file = std::fs::File::create(&path).unwrap();
    TiffEncoder::new(&mut file)
        .unwrap()
        .write_image::<colortype::RGB8>(41, 37, &colours)
        .unwrap();
    drop(file);
    let rgb = TiffStack::open(&path).unwrap();
    assert_eq!(rgb.channels(), ["red", "green", "blue"]);
    assert_eq!(rgb.read_plane(2, 0, 0).unwrap().to_f32()[[0, 1]], 5.0);
}

#[test]
fn a_truncated_stack_is_refused_with_its_page() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ome.tif");
    write_ome_tiff(&path, stack().view(), &OmeTiff::new(&["a", "b"])).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 3, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        // A file cut within its last word has lost only the end mark.
        if let Err(error) = FieldReader::default().read_file(&path) {
            assert!(
                error.to_string().starts_with(&path.display().to_string()),
                "{error}"
            );
        } else {
            assert_eq!(length, bytes.len() - 1);
        }
    }
}
