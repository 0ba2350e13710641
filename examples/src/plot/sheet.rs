use ndarray::Array2;
use plotters::element::BitMapElement;
use plotters::prelude::*;

use super::outline::Rgb;
use super::{Area, Drawing, Figure};

const NAMES: u32 = 170;
const HEAD: u32 = 40;
const GAP: u32 = 8;

/// Rows of pictures, each row with a name: what a set of crops looks like.
pub struct Sheet {
    title: String,
    rows: Vec<(String, Vec<Array2<Rgb>>)>,
}

impl Sheet {
    /// One name and its pictures per row.
    #[must_use]
    pub fn new(title: impl Into<String>, rows: Vec<(String, Vec<Array2<Rgb>>)>) -> Self {
        Self {
            title: title.into(),
            rows,
        }
    }

    fn row_height(row: &[Array2<Rgb>]) -> u32 {
        row.iter().map(|p| p.nrows() as u32).max().unwrap_or(20) + GAP
    }
}

impl Figure for Sheet {
    fn size(&self) -> (u32, u32) {
        let width = |row: &[Array2<Rgb>]| row.iter().map(|p| p.ncols() as u32 + GAP).sum::<u32>();
        (
            NAMES + self.rows.iter().map(|r| width(&r.1)).max().unwrap_or(200),
            HEAD + self
                .rows
                .iter()
                .map(|r| Self::row_height(&r.1))
                .sum::<u32>(),
        )
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        area.draw(&Text::new(self.title.clone(), (8, 10), ("sans-serif", 20)))?;
        let mut top = HEAD as i32;
        for (name, pictures) in &self.rows {
            area.draw(&Text::new(name.clone(), (8, top + 4), ("sans-serif", 15)))?;
            let mut left = NAMES as i32;
            for picture in pictures.iter().filter(|p| !p.is_empty()) {
                let (h, w) = picture.dim();
                let bytes: Vec<u8> = picture.iter().flatten().copied().collect();
                let size = (w as u32, h as u32);
                if let Some(element) = BitMapElement::with_owned_buffer((left, top), size, bytes) {
                    area.draw(&element)?;
                }
                left += w as i32 + GAP as i32;
            }
            top += Self::row_height(pictures) as i32;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::save;

    #[test]
    fn pictures_of_any_size() {
        let dir = tempfile::tempdir().unwrap();
        let picture = |h, w| Array2::from_elem((h, w), [200, 10, 10]);
        let rows = vec![
            ("a".to_string(), vec![picture(20, 30), picture(40, 10)]),
            ("b".to_string(), vec![]),
        ];
        let sheet = Sheet::new("crops", rows);
        assert_eq!(sheet.size(), (170 + 30 + 10 + 16, 40 + 48 + 28));
        let path = dir.path().join("s.png");
        save(&sheet, &path).unwrap();
        let plane = &cytoself_io::read_png(&path).unwrap()[0].to_f32();
        assert_eq!((plane[[45, 175]], plane[[45, 205]]), (200.0, 255.0));
        save(&Sheet::new("none", vec![]), &dir.path().join("n.svg")).unwrap();
    }
}
