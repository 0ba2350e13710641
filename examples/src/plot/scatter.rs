use ndarray::ArrayView2;
use plotters::prelude::*;

use super::frame::Frame;
use super::{Area, Drawing, Figure, OTHERS, class_color};

const PANEL: u32 = 900;
const TITLE: u32 = 40;
const LEGEND: u32 = 260;
const LINE: i32 = 22;

/// A map of points coloured by class, with a legend; points of no class are grey and lie behind the others.
///
/// Points whose coordinates are not finite are left out.
pub struct Scatter<'a> {
    points: ArrayView2<'a, f32>,
    class: &'a [Option<usize>],
    names: &'a [String],
    title: String,
    others: &'a str,
}

impl<'a> Scatter<'a> {
    /// `points: [n, 2]`; `class[i]` indexes `names`, or is `None` for a point of no class.
    #[must_use]
    pub fn new(
        points: ArrayView2<'a, f32>,
        class: &'a [Option<usize>],
        names: &'a [String],
    ) -> Self {
        Self {
            points,
            class,
            names,
            title: String::new(),
            others: "others",
        }
    }

    /// The line above the map.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// What the legend calls points of no class.
    #[must_use]
    pub fn others(mut self, name: &'a str) -> Self {
        self.others = name;
        self
    }

    /// Pixel of each finite point, with its class, on a square panel with equal scales.
    fn pixels(&self) -> Vec<((i32, i32), Option<usize>)> {
        let frame = Frame::around(self.points, (PANEL, PANEL), 20.0);
        let rows = self.points.outer_iter().enumerate();
        rows.filter_map(|(row, place)| {
            let pixel = frame.pixel(place)?;
            Some((pixel, self.class.get(row).copied().flatten()))
        })
        .collect()
    }

    fn draw_legend<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let lines = (self.size().1 as i32 - 2 * LINE) / LINE;
        let mut entries: Vec<(RGBColor, &str)> = self
            .names
            .iter()
            .enumerate()
            .map(|(i, n)| (class_color(i), n.as_str()))
            .collect();
        if self.class.iter().any(Option::is_none) {
            entries.push((OTHERS, self.others));
        }
        let hidden = entries.len().saturating_sub(lines as usize);
        for (line, (color, name)) in entries.iter().take(lines as usize).enumerate() {
            let y = LINE + line as i32 * LINE;
            area.draw(&Circle::new((14, y + 8), 6, color.filled()))?;
            area.draw(&Text::new((*name).to_string(), (28, y), ("sans-serif", 17)))?;
        }
        if hidden > 0 {
            let text = format!("and {hidden} more");
            area.draw(&Text::new(
                text,
                (28, LINE + lines * LINE),
                ("sans-serif", 17),
            ))?;
        }
        Ok(())
    }
}

impl Figure for Scatter<'_> {
    fn size(&self) -> (u32, u32) {
        (PANEL + LEGEND, PANEL + TITLE)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let (head, body) = area.split_vertically(TITLE);
        head.draw(&Text::new(self.title.clone(), (16, 10), ("sans-serif", 24)))?;
        let (map, legend) = body.split_horizontally(PANEL);
        let mut pixels = self.pixels();
        let (radius, opacity) = match pixels.len() {
            0..2_000 => (3, 0.8),
            2_000..20_000 => (2, 0.6),
            _ => (1, 0.4),
        };
        // Stable, so that classes stay mixed as in the data and none hides another.
        pixels.sort_by_key(|(_, class)| class.is_some());
        for (pixel, class) in pixels {
            let color = class.map_or(OTHERS, class_color);
            map.draw(&Circle::new(pixel, radius, color.mix(opacity).filled()))?;
        }
        self.draw_legend(&legend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::save;

    #[test]
    fn png_and_svg_of_any_points() {
        let dir = tempfile::tempdir().unwrap();
        let names = vec!["Golgi".to_string(), "ER".to_string()];
        let points = ndarray::array![[0.0f32, 0.0], [1.0, 2.0], [f32::NAN, 1.0], [3.0, 1.0]];
        for rows in [0, 1, 4] {
            let points = points.slice(ndarray::s![..rows, ..]);
            let class = [Some(0), Some(1), Some(1), None];
            let scatter = Scatter::new(points, &class[..rows], &names).title("a title");
            save(&scatter, &dir.path().join("a.png")).unwrap();
            save(&scatter, &dir.path().join("a.svg")).unwrap();
        }
        let svg = std::fs::read_to_string(dir.path().join("a.svg")).unwrap();
        assert!(svg.contains("Golgi") && svg.contains("others") && svg.contains("a title"));
        assert!(
            save(
                &Scatter::new(points.view(), &[], &names),
                &dir.path().join("a.gif")
            )
            .is_err()
        );
    }
}
