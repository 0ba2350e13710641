use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2, Axis};
use plotters::prelude::*;

use super::frame::Frame;
use super::{Area, Drawing, Figure, OTHERS, class_color};

const MAP: u32 = 900;
const INSERT: u32 = 300;
const CAPTION: u32 = 28;
const COLUMNS: usize = 4;
const HEAD: u32 = 44;
const LEGEND: u32 = 300;
const LINE: i32 = 26;

/// The atlas of the paper's Fig. 2: a map coloured by localisation, others grey, and for each localisation an insert that zooms on
/// its crops, coloured by protein.
pub struct Submaps<'a> {
    points: ArrayView2<'a, f32>,
    class: &'a [Option<usize>],
    names: &'a [String],
    protein: &'a [usize],
    title: String,
}

impl<'a> Submaps<'a> {
    /// `points: [n, 2]`; `class[i]` indexes `names`, `None` for crops of other or mixed localisation; `protein[i]` numbers the
    /// proteins.
    #[must_use]
    pub fn new(
        points: ArrayView2<'a, f32>,
        class: &'a [Option<usize>],
        names: &'a [String],
        protein: &'a [usize],
    ) -> Self {
        Self {
            points,
            class,
            names,
            protein,
            title: String::new(),
        }
    }

    /// The line above the picture.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    fn rows_of(&self, class: usize) -> Vec<usize> {
        (0..self.points.nrows())
            .filter(|&row| self.class.get(row) == Some(&Some(class)))
            .collect()
    }

    fn draw_map<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let frame = Frame::around(self.points, (MAP, MAP), 20.0);
        let of = |row: usize| self.class.get(row).copied().flatten();
        let mut rows: Vec<usize> = (0..self.points.nrows()).collect();
        // Stable, so that classes stay mixed as in the data and none hides another.
        rows.sort_by_key(|&row| of(row).is_some());
        let radius = if rows.len() < 5_000 { 3 } else { 2 };
        for row in rows {
            let Some(pixel) = frame.pixel(self.points.row(row)) else {
                continue;
            };
            let color = of(row).map_or(OTHERS, class_color).mix(0.65);
            area.draw(&Circle::new(pixel, radius, color.filled()))?;
        }
        Ok(())
    }

    fn draw_legend<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let classes = self.names.iter().enumerate();
        let mut entries: Vec<(RGBColor, String)> = classes
            .map(|(i, name)| {
                (
                    class_color(i),
                    format!("{name} ({})", self.rows_of(i).len()),
                )
            })
            .collect();
        let grey = self.class.iter().filter(|c| c.is_none()).count();
        entries.push((OTHERS, format!("other or mixed ({grey})")));
        for (line, (color, name)) in entries.into_iter().enumerate() {
            let y = 20 + line as i32 * LINE;
            area.draw(&Circle::new((16, y + 9), 7, color.filled()))?;
            area.draw(&Text::new(name, (32, y), ("sans-serif", 19)))?;
        }
        Ok(())
    }

    fn draw_insert<B: DrawingBackend>(&self, class: usize, area: &Area<'_, B>) -> Drawing<B> {
        let (head, map) = area.split_vertically(CAPTION);
        let rows = self.rows_of(class);
        let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
        for &row in &rows {
            let next = numbers.len();
            numbers.entry(self.protein[row]).or_insert(next);
        }
        head.draw(&Circle::new((14, 15), 6, class_color(class).filled()))?;
        let caption = format!("{}: {} proteins", self.names[class], numbers.len());
        head.draw(&Text::new(caption, (28, 6), ("sans-serif", 18)))?;
        let frame = Frame::around(middle(self.points, &rows).view(), (INSERT, INSERT), 24.0);
        let inside = |(x, y): &(i32, i32)| {
            let side = 6..INSERT as i32 - 10;
            side.contains(x) && side.contains(y)
        };
        let at = |row: usize| frame.pixel(self.points.row(row)).filter(inside);
        for row in (0..self.points.nrows()).filter(|&r| self.class.get(r) != Some(&Some(class))) {
            if let Some(pixel) = at(row) {
                map.draw(&Circle::new(pixel, 2, RGBColor(228, 228, 228).filled()))?;
            }
        }
        for &row in &rows {
            if let Some(pixel) = at(row) {
                let color = class_color(numbers[&self.protein[row]]).mix(0.75);
                map.draw(&Circle::new(pixel, 3, color.filled()))?;
            }
        }
        let border = [(2, 2), (INSERT as i32 - 6, INSERT as i32 - 6)];
        map.draw(&Rectangle::new(border, class_color(class).stroke_width(2)))
    }
}

/// The points of `rows` without the outermost twentieth in each direction, so that a stray crop does not decide the zoom.
fn middle(points: ArrayView2<'_, f32>, rows: &[usize]) -> Array2<f32> {
    let finite = |row: &&usize| points.row(**row).iter().all(|v| v.is_finite());
    let rows: Vec<usize> = rows.iter().filter(finite).copied().collect();
    let mut corners = Array2::zeros((2, 2));
    for axis in 0..2 {
        let mut values: Vec<f32> = rows.iter().map(|&row| points[[row, axis]]).collect();
        values.sort_by(f32::total_cmp);
        let last = values.len().saturating_sub(1) as f32;
        for (corner, share) in [(0, 0.05), (1, 0.95)] {
            let at = (share * last).round() as usize;
            corners[[corner, axis]] = values.get(at).copied().unwrap_or(0.0);
        }
    }
    debug_assert_eq!(corners.len_of(Axis(0)), 2);
    corners
}

impl Figure for Submaps<'_> {
    fn size(&self) -> (u32, u32) {
        let lines = self.names.len().div_ceil(COLUMNS) as u32;
        let width = (MAP + LEGEND).max(INSERT * COLUMNS as u32);
        (width, HEAD + MAP + lines * (INSERT + CAPTION))
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        area.draw(&Text::new(self.title.clone(), (12, 10), ("sans-serif", 26)))?;
        let (top, mut rest) = area.split_vertically(HEAD + MAP);
        let (map, legend) = top.split_vertically(HEAD).1.split_horizontally(MAP);
        self.draw_map(&map)?;
        self.draw_legend(&legend)?;
        let classes: Vec<usize> = (0..self.names.len()).collect();
        for line in classes.chunks(COLUMNS) {
            let (row, below) = rest.split_vertically(INSERT + CAPTION);
            let mut right = row;
            for &class in line {
                let (cell, more) = right.split_horizontally(INSERT);
                self.draw_insert(class, &cell)?;
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
    fn a_stray_point_does_not_decide_the_zoom() {
        let mut points = Array2::from_shape_fn((101, 2), |(i, j)| (i % (10 + j)) as f32);
        points[[100, 0]] = 1e6;
        points[[99, 1]] = f32::NAN;
        let rows: Vec<usize> = (0..101).collect();
        let corners = middle(points.view(), &rows);
        assert!(
            corners.iter().all(|v| (0.0..=10.0).contains(v)),
            "{corners}"
        );
        assert_eq!(middle(points.view(), &[]), Array2::<f32>::zeros((2, 2)));
    }

    #[test]
    fn maps_of_any_number_of_classes() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = ["ER", "Golgi", "nucleolus", "vesicles", "none"]
            .map(String::from)
            .to_vec();
        let points = Array2::from_shape_fn((40, 2), |(i, j)| ((i * 7 + j * 3) % 11) as f32);
        let class: Vec<Option<usize>> = (0..40).map(|i| (i % 5 != 4).then_some(i % 5)).collect();
        let protein: Vec<usize> = (0..40).map(|i| i % 8).collect();
        for count in [0, 1, 5] {
            let class: Vec<Option<usize>> =
                class.iter().map(|c| c.filter(|&c| c < count)).collect();
            let figure =
                Submaps::new(points.view(), &class, &names[..count], &protein).title("atlas");
            save(&figure, &dir.path().join("s.png")).unwrap();
            save(&figure, &dir.path().join("s.svg")).unwrap();
        }
        let svg = std::fs::read_to_string(dir.path().join("s.svg")).unwrap();
        assert!(svg.contains("Golgi: 8 proteins") || svg.contains("Golgi: "));
    }
}
