use std::path::Path;

use cytoself_io::{CropTable, EmbeddingLayout, EmbeddingPart, EmbeddingStoreWriter, Value};
use ndarray::Array2;

/// Two proteins of each of three localisations, two fields each; every localisation has its own codes.
pub(crate) fn write_store(path: &Path) {
    let rows = 240;
    let mut table = CropTable::new();
    for row in 0..rows {
        let protein = row % 6;
        let names = [
            format!("c{row}"),
            format!("P{protein}"),
            format!("f{}", row / 120),
        ];
        let class = ["er", "golgi", "nucleolus"][protein / 2];
        let cells = [
            ("crop", names[0].as_str()),
            ("protein", names[1].as_str()),
            ("fov", names[2].as_str()),
            ("split", "test"),
            ("localization", class),
        ];
        table
            .push(&cells.map(|(name, text)| (name, Value::Text(text))))
            .unwrap();
    }
    // Four codes of the localisation, one of the protein, one that everyone uses; code 31 is never used.
    let codes = Array2::from_shape_fn((rows, 16), |(row, position)| {
        let (protein, draw) = (row % 6, (row * 31 + position * 17 + row * position) % 23);
        let code = match draw {
            0..14 => protein / 2 * 4 + draw % 4,
            14..19 => 12 + protein,
            _ => 20 + draw % 8,
        };
        code as u16
    });
    // Codes of one localisation are near each other; those that several share lie in the middle.
    let codebook = Array2::from_shape_fn((32, 3), |(code, axis)| {
        let place = if code < 12 { code / 4 * 10 } else { 10 };
        place as f32 + ((code * 7 + axis * 5) % 13) as f32 / 13.0
    });
    let layout = EmbeddingLayout::new()
        .indices(1, [1, 4, 4], codebook.clone())
        .indices(2, [1, 4, 4], codebook);
    let mut writer = EmbeddingStoreWriter::create(path, &layout).unwrap();
    let parts = [
        ("vqind1", EmbeddingPart::U16(codes.view())),
        ("vqind2", EmbeddingPart::U16(codes.view())),
    ];
    writer.append(&table, &parts).unwrap();
    writer.finish().unwrap();
}

pub(crate) fn common() -> crate::cli::Common {
    crate::cli::Common {
        threads: None,
        seed: 42,
        quiet: true,
        overwrite: false,
    }
}
