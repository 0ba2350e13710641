use ndarray::Array2;
use plotters::element::BitMapElement;
use plotters::prelude::*;

use super::outline::Rgb;
use super::{Area, Drawing, Figure};

/// Letters that fit beside the pictures.
const LETTERS: usize = 20;
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
            // Without pictures a row is a line of text over the whole width.
            let letters = if pictures.is_empty() {
                usize::MAX
            } else {
                LETTERS
            };
            for (i, line) in lines(name, letters).into_iter().enumerate() {
                let place = (8, top + 4 + 18 * i as i32);
                area.draw(&Text::new(line, place, ("sans-serif", 15)))?;
            }
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

/// A name in lines of at most `letters`, broken after a separator where there is one in the second half of a line.
fn lines(name: &str, letters: usize) -> Vec<String> {
    let mut rest: Vec<char> = name.chars().collect();
    let mut out = Vec::new();
    while rest.len() > letters {
        let separator = |c: &char| !c.is_alphanumeric();
        let at = rest[..letters].iter().rposition(separator);
        let at = at.map_or(letters, |i| i + 1).max(letters / 2);
        out.push(rest.drain(..at).collect());
    }
    out.push(rest.into_iter().collect());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::save;

    #[test]
    fn long_names_go_on_in_the_next_line() {
        assert_eq!(lines("plate1_B07 (ATL2)", 20), ["plate1_B07 (ATL2)"]);
        let long = "2019-11-04_plate12_well-B07_site3 (ATL2)";
        assert_eq!(
            lines(long, 20),
            ["2019-11-04_plate12_", "well-B07_site3 (", "ATL2)"]
        );
        assert_eq!(lines("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(lines("", 3), [""]);
        assert_eq!(lines("any", usize::MAX), ["any"]);
    }

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
