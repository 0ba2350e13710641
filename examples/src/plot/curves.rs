use plotters::prelude::*;

use super::{Area, Drawing, Figure, class_color};

const PANEL: (u32, u32) = (420, 300);
const COLUMNS: usize = 2;
const FONT: (&str, u32) = ("sans-serif", 15);

/// Quantities over the epochs of a training, a panel each, with a line per split.
pub struct Curves {
    panels: Vec<Panel>,
}

struct Panel {
    title: String,
    lines: Vec<(String, Vec<f64>)>,
}

impl Curves {
    /// A picture without panels.
    #[must_use]
    pub fn new() -> Self {
        Self { panels: Vec::new() }
    }

    /// Adds a panel with named lines; the first value of a line belongs to epoch 1. Values that are not numbers leave a gap.
    #[must_use]
    pub fn panel(mut self, title: &str, lines: &[(&str, Vec<f64>)]) -> Self {
        let lines = lines.iter().map(|(n, v)| ((*n).to_string(), v.clone()));
        self.panels.push(Panel {
            title: title.to_string(),
            lines: lines.collect(),
        });
        self
    }
}

impl Default for Curves {
    fn default() -> Self {
        Self::new()
    }
}

impl Panel {
    /// Epochs and the range of the values, with some air.
    fn ranges(&self) -> (f64, std::ops::Range<f64>) {
        let epochs = self.lines.iter().map(|(_, v)| v.len()).max().unwrap_or(0);
        let values = || {
            let all = self.lines.iter().flat_map(|(_, v)| v.iter().copied());
            all.filter(|v| v.is_finite())
        };
        let low = values().fold(f64::INFINITY, f64::min).min(0.0);
        let high = values().fold(f64::NEG_INFINITY, f64::max).max(low + 1e-9);
        (epochs.max(2) as f64, low..high + 0.05 * (high - low))
    }

    /// The place at the right that the fewest points of the last third of the epochs lie in.
    fn free_corner(&self, range: &std::ops::Range<f64>) -> SeriesLabelPosition {
        let height = range.end - range.start;
        let points = |low: f64, high: f64| {
            let last = self.lines.iter().flat_map(|(_, v)| &v[v.len() * 2 / 3..]);
            let heights = last.map(|v| (v - range.start) / height);
            heights.filter(|h| (low..high).contains(h)).count()
        };
        let places = [
            (points(0.7, 1.0), SeriesLabelPosition::UpperRight),
            (points(0.0, 0.3), SeriesLabelPosition::LowerRight),
            (points(0.35, 0.65), SeriesLabelPosition::MiddleRight),
        ];
        let [first, rest @ ..] = places;
        rest.into_iter()
            .fold(
                first,
                |best, place| if place.0 < best.0 { place } else { best },
            )
            .1
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let (epochs, range) = self.ranges();
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(32)
            .y_label_area_size(52)
            .build_cartesian_2d(1.0..epochs, range.clone())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc("epoch")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .label_style(FONT)
            .draw()?;
        for (index, (name, values)) in self.lines.iter().enumerate() {
            let color = class_color(index);
            let points = values.iter().enumerate().filter(|(_, v)| v.is_finite());
            let points = points.map(|(i, v)| (i as f64 + 1.0, *v));
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
        }
        if self.lines.len() > 1 {
            chart
                .configure_series_labels()
                .background_style(WHITE.mix(0.8))
                .position(self.free_corner(&range))
                .label_font(FONT)
                .draw()?;
        }
        Ok(())
    }
}

impl Figure for Curves {
    fn size(&self) -> (u32, u32) {
        let rows = self.panels.len().div_ceil(COLUMNS).max(1) as u32;
        (PANEL.0 * COLUMNS as u32, PANEL.1 * rows)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let rows = self.panels.len().div_ceil(COLUMNS).max(1);
        let places = area.split_evenly((rows, COLUMNS));
        for (panel, place) in self.panels.iter().zip(&places) {
            panel.draw(place)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::save;

    #[test]
    fn one_epoch_gaps_and_no_panel() {
        let dir = tempfile::tempdir().unwrap();
        let curves = Curves::new()
            .panel("loss", &[("train", vec![3.0]), ("val", vec![f64::NAN])])
            .panel("accuracy", &[("val", vec![0.0, 0.5, 1.0])]);
        save(&curves, &dir.path().join("c.png")).unwrap();
        save(&curves, &dir.path().join("c.svg")).unwrap();
        assert_eq!(Curves::default().size(), (840, 300));
    }
}
