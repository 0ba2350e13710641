use ndarray::ArrayView2;
use plotters::prelude::*;

use super::{Area, Drawing, Figure};

/// Side of a tile in pixels, the gap to the next included.
pub const TILE_SIDE: u32 = 120;
const NAMES: u32 = 150;
const HEAD: u32 = 44;
const CAPTION: u32 = 20;

/// A picture of one crop and the line below it.
pub struct Tile<'a> {
    /// Grey values; each tile is stretched from its own smallest to its largest.
    pub image: ArrayView2<'a, f32>,
    /// The line below.
    pub caption: String,
    /// Colour laid over the grey, where there is something to point at.
    pub glow: Option<Glow<'a>>,
}

/// Where a tile is coloured, and how.
pub struct Glow<'a> {
    /// Strengths of the image's shape, whatever their sign; the strongest pixel takes the colour wholly, 0 stays grey.
    pub strength: ArrayView2<'a, f32>,
    /// The colour.
    pub color: RGBColor,
}

impl Glow<'_> {
    /// The colour of grey `value` at every pixel.
    fn over(&self) -> impl Fn(u8, [usize; 2]) -> RGBColor {
        let largest = self.strength.iter().fold(0.0_f32, |l, v| l.max(v.abs()));
        move |value, at| {
            let strength = self.strength.get(at).map_or(0.0, |v| v.abs());
            if !(strength > 0.0 && largest.is_finite()) {
                return RGBColor(value, value, value);
            }
            let share = strength / largest;
            let mix =
                |to: u8| (f32::from(value) * (1.0 - share) + f32::from(to) * share).round() as u8;
            RGBColor(mix(self.color.0), mix(self.color.1), mix(self.color.2))
        }
    }
}

/// Rows of crops, each row with a name: representative images per cluster or class.
pub struct Montage<'a> {
    rows: Vec<(String, Vec<Tile<'a>>)>,
    title: String,
}

impl<'a> Montage<'a> {
    /// One name and its tiles per row.
    #[must_use]
    pub fn new(title: impl Into<String>, rows: Vec<(String, Vec<Tile<'a>>)>) -> Self {
        Self {
            rows,
            title: title.into(),
        }
    }
}

/// Draws a tile with its caption at the upper left of `area`.
pub(super) fn draw_tile<B: DrawingBackend>(tile: &Tile<'_>, area: &Area<'_, B>) -> Drawing<B> {
    let finite = tile.image.iter().copied().filter(|v| v.is_finite());
    let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    let side = TILE_SIDE as usize - 6;
    let (h, w) = tile.image.dim();
    let glow = tile.glow.as_ref().map(Glow::over);
    let color = |y: usize, x: usize| {
        let at = [y * h / side, x * w / side];
        let grey = if high > low {
            ((tile.image[at] - low) / (high - low) * 255.0).round() as u8
        } else {
            0
        };
        match &glow {
            Some(over) => over(grey, at),
            None => RGBColor(grey, grey, grey),
        }
    };
    for y in 0..side {
        let mut x = 0;
        while x < side && h > 0 && w > 0 {
            let value = color(y, x);
            let end = (x..side).find(|&at| color(y, at) != value).unwrap_or(side);
            let corners = [(x as i32, y as i32), (end as i32, y as i32 + 1)];
            area.draw(&Rectangle::new(corners, value.filled()))?;
            x = end;
        }
    }
    area.draw(&Text::new(
        tile.caption.clone(),
        (0, TILE_SIDE as i32 - 3),
        ("sans-serif", 13),
    ))
}

impl Figure for Montage<'_> {
    fn size(&self) -> (u32, u32) {
        let longest = self.rows.iter().map(|r| r.1.len()).max().unwrap_or(0) as u32;
        (
            NAMES + TILE_SIDE * longest.max(1) + 10,
            HEAD + (TILE_SIDE + CAPTION) * self.rows.len().max(1) as u32,
        )
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let (head, body) = area.split_vertically(HEAD);
        head.draw(&Text::new(self.title.clone(), (8, 12), ("sans-serif", 22)))?;
        let mut rest = body;
        for (name, tiles) in &self.rows {
            let (row, below) = rest.split_vertically(TILE_SIDE + CAPTION);
            row.draw(&Text::new(
                name.clone(),
                (8, TILE_SIDE as i32 / 2),
                ("sans-serif", 17),
            ))?;
            let mut right = row.split_horizontally(NAMES).1;
            for tile in tiles {
                let (left, more) = right.split_horizontally(TILE_SIDE);
                draw_tile(tile, &left)?;
                right = more;
            }
            rest = below;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::save;

    #[test]
    fn tiles_of_any_shape() {
        let dir = tempfile::tempdir().unwrap();
        let image = ndarray::Array2::from_shape_fn((7, 9), |(y, x)| (y * x) as f32);
        let flat = ndarray::Array2::<f32>::zeros((4, 4));
        let tile = |image| Tile {
            image,
            caption: "a".into(),
            glow: None,
        };
        let rows = vec![
            ("i".to_string(), vec![tile(image.view()), tile(flat.view())]),
            ("ii".to_string(), vec![]),
        ];
        save(&Montage::new("codes", rows), &dir.path().join("m.png")).unwrap();
        save(&Montage::new("none", vec![]), &dir.path().join("n.svg")).unwrap();
    }

    #[test]
    fn the_strongest_pixel_takes_the_colour() {
        let strength = ndarray::array![[0.0_f32, 1.0], [-2.0, f32::NAN]];
        let glow = Glow {
            strength: strength.view(),
            color: RGBColor(200, 0, 100),
        };
        let over = glow.over();
        assert_eq!(over(80, [0, 0]), RGBColor(80, 80, 80));
        assert_eq!(over(80, [0, 1]), RGBColor(140, 40, 90));
        assert_eq!(over(80, [1, 0]), RGBColor(200, 0, 100));
        assert_eq!(over(80, [1, 1]), RGBColor(80, 80, 80));
    }
}
