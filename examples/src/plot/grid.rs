use ndarray::ArrayView2;
use plotters::prelude::*;

use super::frame::Frame;
use super::{Area, Drawing, Figure, OTHERS, class_color};

const PANEL: u32 = 330;
const CAPTION: u32 = 30;
const HEAD: u32 = 44;
const LEGEND_LINE: u32 = 24;
const LEGEND_COLUMN: u32 = 220;

/// Maps of the same crops side by side, coloured alike, with one legend below them.
pub struct ScatterGrid<'a> {
    panels: Vec<(String, ArrayView2<'a, f32>)>,
    class: &'a [Option<usize>],
    names: &'a [String],
    columns: usize,
    title: String,
}

impl<'a> ScatterGrid<'a> {
    /// `class[i]` indexes `names`, or is `None` for a crop of no class, in every panel.
    #[must_use]
    pub fn new(class: &'a [Option<usize>], names: &'a [String], columns: usize) -> Self {
        Self {
            panels: Vec::new(),
            class,
            names,
            columns: columns.max(1),
            title: String::new(),
        }
    }

    /// The line above the picture.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Adds a map, `points: [n, 2]`.
    #[must_use]
    pub fn panel(mut self, caption: impl Into<String>, points: ArrayView2<'a, f32>) -> Self {
        self.panels.push((caption.into(), points));
        self
    }

    fn width(&self) -> u32 {
        PANEL * self.columns as u32
    }

    fn entries(&self) -> Vec<(RGBColor, String)> {
        let classes = self.names.iter().enumerate();
        let mut entries: Vec<(RGBColor, String)> = classes
            .map(|(i, name)| (class_color(i), name.clone()))
            .collect();
        if self.class.iter().any(Option::is_none) {
            entries.push((OTHERS, "others".to_string()));
        }
        entries
    }

    fn legend_columns(&self) -> usize {
        (self.width() / LEGEND_COLUMN).max(1) as usize
    }

    fn draw_map<B: DrawingBackend>(
        &self,
        points: ArrayView2<'_, f32>,
        area: &Area<'_, B>,
    ) -> Drawing<B> {
        let frame = Frame::around(points, (PANEL, PANEL), 14.0);
        let of = |row: usize| self.class.get(row).copied().flatten();
        let mut rows: Vec<usize> = (0..points.nrows()).collect();
        // Stable, so that classes stay mixed as in the data and none hides another.
        rows.sort_by_key(|&row| of(row).is_some());
        let radius = if rows.len() < 4_000 { 2 } else { 1 };
        for row in rows {
            let Some(pixel) = frame.pixel(points.row(row)) else {
                continue;
            };
            let color = of(row).map_or(OTHERS, class_color).mix(0.6);
            area.draw(&Circle::new(pixel, radius, color.filled()))?;
        }
        let border = [(3, 3), (PANEL as i32 - 4, PANEL as i32 - 4)];
        area.draw(&Rectangle::new(border, RGBColor(190, 190, 190)))
    }
}

impl Figure for ScatterGrid<'_> {
    fn size(&self) -> (u32, u32) {
        let rows = self.panels.len().div_ceil(self.columns) as u32;
        let lines = self.entries().len().div_ceil(self.legend_columns()) as u32;
        (
            self.width(),
            HEAD + rows * (PANEL + CAPTION) + lines * LEGEND_LINE + 16,
        )
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        area.draw(&Text::new(self.title.clone(), (10, 10), ("sans-serif", 24)))?;
        let mut rest = area.split_vertically(HEAD).1;
        for row in self.panels.chunks(self.columns) {
            let (line, below) = rest.split_vertically(PANEL + CAPTION);
            let mut right = line;
            for (caption, points) in row {
                let (cell, more) = right.split_horizontally(PANEL);
                let (head, map) = cell.split_vertically(CAPTION);
                head.draw(&Text::new(caption.clone(), (10, 6), ("sans-serif", 20)))?;
                self.draw_map(points.view(), &map)?;
                right = more;
            }
            rest = below;
        }
        let columns = self.legend_columns();
        for (index, (color, name)) in self.entries().into_iter().enumerate() {
            let x = (index % columns) as i32 * LEGEND_COLUMN as i32 + 16;
            let y = (index / columns) as i32 * LEGEND_LINE as i32 + 12;
            rest.draw(&Circle::new((x, y + 8), 6, color.filled()))?;
            rest.draw(&Text::new(name, (x + 14, y), ("sans-serif", 17)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::save;

    #[test]
    fn panels_of_any_number() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["Golgi".to_string(), "ER".to_string()];
        let points = ndarray::array![[0.0f32, 0.0], [1.0, 2.0], [f32::NAN, 1.0]];
        let class = [Some(0), Some(1), None];
        for panels in [0, 1, 5] {
            let grid = (0..panels)
                .fold(ScatterGrid::new(&class, &names, 4).title("t"), |grid, i| {
                    grid.panel(format!("map {i}"), points.view())
                });
            save(&grid, &dir.path().join("g.png")).unwrap();
            save(&grid, &dir.path().join("g.svg")).unwrap();
        }
        let svg = std::fs::read_to_string(dir.path().join("g.svg")).unwrap();
        assert!(svg.contains("map 4") && svg.contains("others"));
    }
}
