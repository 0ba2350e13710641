use std::path::Path;

use ndarray::{Array2, ArrayView2, Axis};

use super::Interpretation;
use crate::cli::Failure;
use crate::plot::{self, Montage, Tile};

/// Rows of channels, columns of images: input, reconstruction, and per part the image without it and both differences.
pub(super) fn save(
    folder: &Path,
    found: &Interpretation,
    channels: &[String],
) -> Result<(), Failure> {
    let differences: Vec<[ndarray::Array3<f32>; 2]> = found
        .parts
        .iter()
        .map(|part| {
            [
                &found.reconstruction - &part.without,
                &found.image - &part.without,
            ]
        })
        .collect();
    let mut rows = Vec::new();
    for (index, channel) in channels.iter().enumerate() {
        let of = |image: &ndarray::Array3<f32>| image.index_axis(Axis(0), index).to_owned();
        rows.push((
            channel.clone(),
            vec![
                ("input".to_string(), of(&found.image)),
                ("reconstruction".into(), of(&found.reconstruction)),
            ],
        ));
        for (part, [from_reconstruction, from_input]) in found.parts.iter().zip(&differences) {
            let tiles = vec![
                ("without".to_string(), of(&part.without)),
                ("reconstr. - without".into(), of(from_reconstruction)),
                ("input - without".into(), of(from_input)),
            ];
            rows.push((format!("{} ({})", part.name, part.positions), tiles));
        }
    }
    let montage = rows
        .iter()
        .map(|(name, tiles)| (name.clone(), tiles.iter().map(tile).collect()))
        .collect();
    let title = "codes zeroed before decoding; every tile stretched by itself";
    plot::save(&Montage::new(title, montage), &folder.join("panel.png"))
}

fn tile((caption, image): &(String, Array2<f32>)) -> Tile<'_> {
    let image: ArrayView2<'_, f32> = image.view();
    Tile {
        image,
        caption: caption.clone(),
    }
}
