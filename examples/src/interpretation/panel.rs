use std::path::Path;

use ndarray::{Array2, Array3, Axis};

use super::{Interpretation, Part};
use crate::cli::Failure;
use crate::plot::{self, Glow, Montage, Tile, class_color};

/// Class colours that are clear on grey; red first, as in the paper's figure.
const COLORS: [usize; 6] = [3, 7, 8, 6, 10, 1];

/// What the tiles of a part show, of one channel.
struct Views {
    without: Array2<f32>,
    from_reconstruction: Array2<f32>,
    from_input: Array2<f32>,
}

impl Views {
    fn new(found: &Interpretation, part: &Part, channel: usize) -> Self {
        let of = |image: &Array3<f32>| image.index_axis(Axis(0), channel).to_owned();
        let without = of(&part.without);
        Self {
            from_reconstruction: of(&found.reconstruction) - &without,
            from_input: of(&found.image) - &without,
            without,
        }
    }
}

/// Rows of channels, columns of images: input, reconstruction, and per part where the input shows it, the image without it and both
/// differences.
pub(super) fn save(
    folder: &Path,
    found: &Interpretation,
    channels: &[String],
) -> Result<(), Failure> {
    let views: Vec<Vec<Views>> = (0..channels.len())
        .map(|channel| {
            let of = |part| Views::new(found, part, channel);
            found.parts.iter().map(of).collect()
        })
        .collect();
    let mut rows = Vec::new();
    for (index, (channel, views)) in channels.iter().zip(&views).enumerate() {
        let input = found.image.index_axis(Axis(0), index);
        let reconstruction = found.reconstruction.index_axis(Axis(0), index);
        let plain = |image, caption: &str| Tile {
            image,
            caption: caption.to_string(),
            glow: None,
        };
        let tiles = vec![
            plain(input, "input"),
            plain(reconstruction, "reconstruction"),
        ];
        rows.push((channel.clone(), tiles));
        for (number, (part, views)) in found.parts.iter().zip(views).enumerate() {
            let shown = Tile {
                glow: Some(Glow {
                    strength: views.from_reconstruction.view(),
                    color: class_color(COLORS[number % COLORS.len()]),
                }),
                ..plain(input, "where")
            };
            let tiles = vec![
                shown,
                plain(views.without.view(), "without"),
                plain(views.from_reconstruction.view(), "reconstr. - without"),
                plain(views.from_input.view(), "input - without"),
            ];
            rows.push((format!("{} ({})", part.name, part.positions), tiles));
        }
    }
    let title = "codes zeroed before decoding; every tile stretched by itself";
    plot::save(&Montage::new(title, rows), &folder.join("panel.png"))
}
