use std::ops::Range;

use ndarray::ArrayView2;
use plotters::prelude::*;

use super::{Area, Drawing, Figure, class_color};

const WIDTH: u32 = 1000;
const NAMES: u32 = 190;
const PANEL: u32 = 84;
const HEAD: u32 = 44;
const TRACK: u32 = 40;

/// Feature spectra one below the other, each scaled to its own peak, with the feature clusters as a track below.
pub struct SpectrumPanels<'a> {
    rows: ArrayView2<'a, f64>,
    names: &'a [String],
    clusters: &'a [(String, Range<usize>)],
    title: String,
}

impl<'a> SpectrumPanels<'a> {
    /// `rows: [n, codes]` in leaf order, one name per row; `clusters` are named ranges of positions.
    #[must_use]
    pub fn new(
        rows: ArrayView2<'a, f64>,
        names: &'a [String],
        clusters: &'a [(String, Range<usize>)],
    ) -> Self {
        Self {
            rows,
            names,
            clusters,
            title: String::new(),
        }
    }

    /// The line above the picture.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    fn x(&self, position: usize) -> i32 {
        let share = position as f64 / self.rows.ncols().max(1) as f64;
        (NAMES as f64 + share * f64::from(WIDTH)).round() as i32
    }

    fn cluster_color(&self, position: usize) -> RGBColor {
        let cluster = self
            .clusters
            .iter()
            .position(|(_, range)| range.contains(&position));
        cluster.map_or(BLACK, class_color)
    }

    fn draw_row<B: DrawingBackend>(&self, row: usize, area: &Area<'_, B>) -> Drawing<B> {
        let bottom = PANEL as i32 - 8;
        let name = self.names.get(row).cloned().unwrap_or_default();
        area.draw(&Text::new(name, (8, bottom / 2), ("sans-serif", 17)))?;
        let values = self.rows.row(row);
        let peak = values.iter().copied().fold(0.0, f64::max);
        if peak > 0.0 {
            let label = format!("{peak:.2}");
            area.draw(&Text::new(
                label,
                (NAMES as i32 - 44, 2),
                ("sans-serif", 12),
            ))?;
            for (position, &value) in values.iter().enumerate().filter(|(_, v)| **v > 0.0) {
                let top = bottom - (value / peak * f64::from(bottom - 6)).round() as i32;
                let right = self.x(position + 1).max(self.x(position) + 1);
                let bar = [(self.x(position), top), (right, bottom)];
                area.draw(&Rectangle::new(bar, self.cluster_color(position).filled()))?;
            }
        }
        let axis = vec![(NAMES as i32, bottom), ((NAMES + WIDTH) as i32, bottom)];
        area.draw(&PathElement::new(axis, BLACK.stroke_width(1)))
    }

    fn draw_track<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        for (index, (name, range)) in self.clusters.iter().enumerate() {
            let (left, right) = (self.x(range.start), self.x(range.end));
            area.draw(&Rectangle::new(
                [(left, 0), (right, 12)],
                class_color(index).filled(),
            ))?;
            if right - left >= 8 * name.len() as i32 {
                area.draw(&Text::new(
                    name.clone(),
                    (i32::midpoint(left, right) - 3 * name.len() as i32, 16),
                    ("sans-serif", 15),
                ))?;
            }
        }
        Ok(())
    }
}

impl Figure for SpectrumPanels<'_> {
    fn size(&self) -> (u32, u32) {
        (
            NAMES + WIDTH + 20,
            HEAD + TRACK + PANEL * self.rows.nrows() as u32,
        )
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let (head, body) = area.split_vertically(HEAD);
        head.draw(&Text::new(self.title.clone(), (8, 12), ("sans-serif", 22)))?;
        let mut rest = body;
        for row in 0..self.rows.nrows() {
            let (panel, below) = rest.split_vertically(PANEL);
            self.draw_row(row, &panel)?;
            rest = below;
        }
        self.draw_track(&rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::save;

    #[test]
    fn panels_of_any_number() {
        let dir = tempfile::tempdir().unwrap();
        let rows = ndarray::array![[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]];
        let names = ["ER".to_string(), "Golgi".to_string()];
        let clusters = [("i".to_string(), 0..1), ("ii".to_string(), 1..3)];
        let panels = SpectrumPanels::new(rows.view(), &names, &clusters).title("spectra");
        save(&panels, &dir.path().join("s.png")).unwrap();
        save(&panels, &dir.path().join("s.svg")).unwrap();
    }
}
