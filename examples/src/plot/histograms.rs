use std::ops::Range;

use plotters::prelude::*;

use super::{Area, Drawing, Figure, class_color};

const SIZE: (u32, u32) = (760, 460);
const BINS: usize = 50;

/// Distributions of a quantity in several sets, each with an area of 1.
pub struct Histograms {
    title: String,
    axis: String,
    range: Range<f64>,
    sets: Vec<(String, [f64; BINS])>,
}

impl Histograms {
    /// A picture without sets; values outside of `range` count in its first or last bin.
    #[must_use]
    pub fn new(title: impl Into<String>, axis: impl Into<String>, range: Range<f64>) -> Self {
        Self {
            title: title.into(),
            axis: axis.into(),
            range,
            sets: Vec::new(),
        }
    }

    /// Adds a set; values that are not numbers do not count.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, values: &[f64]) -> Self {
        let width = (self.range.end - self.range.start) / BINS as f64;
        let mut bins = [0.0; BINS];
        let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        for value in &finite {
            let bin = ((value - self.range.start) / width).floor().max(0.0) as usize;
            bins[bin.min(BINS - 1)] += 1.0 / (finite.len() as f64 * width);
        }
        self.sets.push((name.into(), bins));
        self
    }

    /// The outline of a set as a line of steps.
    fn steps(&self, bins: &[f64; BINS]) -> Vec<(f64, f64)> {
        let width = (self.range.end - self.range.start) / BINS as f64;
        let at = |bin: usize| self.range.start + bin as f64 * width;
        let steps = bins.iter().enumerate();
        steps
            .flat_map(|(bin, &v)| [(at(bin), v), (at(bin + 1), v)])
            .collect()
    }
}

impl Figure for Histograms {
    fn size(&self) -> (u32, u32) {
        SIZE
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let highest = self.sets.iter().flat_map(|(_, b)| b.iter().copied());
        let highest = highest.fold(1e-9, f64::max);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 21))
            .margin(14)
            .x_label_area_size(46)
            .y_label_area_size(58)
            .build_cartesian_2d(self.range.clone(), 0.0..1.08 * highest)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(228, 228, 228))
            .x_desc(&self.axis)
            .y_desc("density")
            .label_style(("sans-serif", 16))
            .draw()?;
        for (index, (name, bins)) in self.sets.iter().enumerate() {
            let color = class_color(index);
            let steps = self.steps(bins);
            chart.draw_series(AreaSeries::new(steps.clone(), 0.0, color.mix(0.2)))?;
            chart
                .draw_series(LineSeries::new(steps, color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(("sans-serif", 17))
            .draw()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::save;

    #[test]
    fn areas_are_one() {
        let picture = Histograms::new("t", "x", -1.0..1.0)
            .add("a", &[0.1, 0.2, 5.0, f64::NAN])
            .add("none", &[]);
        let area: f64 = picture.sets[0].1.iter().sum::<f64>() * 2.0 / BINS as f64;
        assert!((area - 1.0).abs() < 1e-12);
        let dir = tempfile::tempdir().unwrap();
        save(&picture, &dir.path().join("h.png")).unwrap();
        save(&picture, &dir.path().join("h.svg")).unwrap();
    }
}
