use plotters::prelude::*;

use super::{Area, Drawing, Figure, class_color};

const SIDE: u32 = 640;
const LEGEND: u32 = 230;

/// A point with its standard errors and its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What was measured.
    pub name: String,
    /// Means on both axes.
    pub mean: [f64; 2],
    /// Standard errors on both axes; NaN where there is none.
    pub error: [f64; 2],
}

/// A straight line through points, and how well it fits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Slope.
    pub slope: f64,
    /// Value at 0.
    pub intercept: f64,
    /// Pearson's correlation.
    pub r: f64,
}

impl Fit {
    /// The line of least squares; none for fewer than three points or points that do not vary.
    ///
    /// ```
    /// use cytoself_examples::plot::Fit;
    /// let fit = Fit::of(&[[0.0, 1.0], [1.0, 3.0], [2.0, 5.0]]).unwrap();
    /// assert_eq!((fit.slope, fit.intercept, fit.r), (2.0, 1.0, 1.0));
    /// assert!(Fit::of(&[[0.0, 1.0], [1.0, 3.0]]).is_none());
    /// ```
    #[must_use]
    pub fn of(points: &[[f64; 2]]) -> Option<Self> {
        let n = points.len() as f64;
        let mean = [0, 1].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / n);
        let moment = |a: usize, b: usize| -> f64 {
            points
                .iter()
                .map(|p| (p[a] - mean[a]) * (p[b] - mean[b]))
                .sum()
        };
        let [xx, yy, xy] = [moment(0, 0), moment(1, 1), moment(0, 1)];
        let slope = xy / xx;
        let fit = Self {
            slope,
            intercept: mean[1] - slope * mean[0],
            r: xy / (xx * yy).sqrt(),
        };
        (points.len() > 2 && xx > 0.0 && yy > 0.0 && fit.r.is_finite()).then_some(fit)
    }
}

/// One score against another, a point per model with its standard errors, and the line through them (paper, Fig. 6).
pub struct Regression<'a> {
    points: &'a [Measured],
    axes: [String; 2],
    title: String,
}

impl<'a> Regression<'a> {
    /// `axes` names the horizontal and the vertical score.
    #[must_use]
    pub fn new(points: &'a [Measured], axes: [&str; 2], title: impl Into<String>) -> Self {
        Self {
            points,
            axes: axes.map(String::from),
            title: title.into(),
        }
    }

    /// The line through the means.
    #[must_use]
    pub fn fit(&self) -> Option<Fit> {
        Fit::of(&self.points.iter().map(|p| p.mean).collect::<Vec<_>>())
    }

    /// The range of an axis, errors and some air included.
    fn range(&self, axis: usize) -> std::ops::Range<f64> {
        let error = |p: &Measured| Some(p.error[axis]).filter(|e| e.is_finite()).unwrap_or(0.0);
        let low = self.points.iter().map(|p| p.mean[axis] - error(p));
        let high = self.points.iter().map(|p| p.mean[axis] + error(p));
        let (low, high) = (
            low.fold(f64::INFINITY, f64::min),
            high.fold(f64::NEG_INFINITY, f64::max),
        );
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let air = 0.08 * (high - low).max(1e-6);
        low - air..high + air
    }
}

impl Figure for Regression<'_> {
    fn size(&self) -> (u32, u32) {
        (SIDE + LEGEND, SIDE)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let (left, legend) = area.split_horizontally(SIDE);
        let ranges = [self.range(0), self.range(1)];
        let fit = self.fit();
        let r = fit.map_or(String::new(), |f| format!(", r = {:.3}", f.r));
        let mut chart = ChartBuilder::on(&left)
            .caption(format!("{}{r}", self.title), ("sans-serif", 21))
            .margin(14)
            .x_label_area_size(46)
            .y_label_area_size(64)
            .build_cartesian_2d(ranges[0].clone(), ranges[1].clone())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(228, 228, 228))
            .x_desc(&self.axes[0])
            .y_desc(&self.axes[1])
            .label_style(("sans-serif", 16))
            .draw()?;
        if let Some(fit) = fit {
            let at = |x: f64| (x, fit.intercept + fit.slope * x);
            let inside = (0..=100)
                .map(|i| ranges[0].start + f64::from(i) / 100.0 * (ranges[0].end - ranges[0].start))
                .map(at)
                .filter(|(_, y)| ranges[1].contains(y));
            chart.draw_series(LineSeries::new(inside, RGBColor(120, 120, 120)))?;
        }
        for (index, point) in self.points.iter().enumerate() {
            let color = class_color(index);
            let [x, y] = point.mean;
            let [dx, dy] = point.error.map(|e| if e.is_finite() { e } else { 0.0 });
            let bars = [[(x - dx, y), (x + dx, y)], [(x, y - dy), (x, y + dy)]];
            chart.draw_series(bars.map(|bar| PathElement::new(bar, color.stroke_width(2))))?;
            chart.draw_series([Circle::new((x, y), 6, color.filled())])?;
            let line = 30 + index as i32 * 26;
            legend.draw(&Circle::new((12, line + 8), 6, color.filled()))?;
            legend.draw(&Text::new(
                point.name.clone(),
                (26, line),
                ("sans-serif", 17),
            ))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::save;

    #[test]
    fn any_number_of_points() {
        let dir = tempfile::tempdir().unwrap();
        let points: Vec<Measured> = (0..5)
            .map(|i| Measured {
                name: format!("model {i}"),
                mean: [f64::from(i), f64::from(i * i)],
                error: [0.2, if i == 2 { f64::NAN } else { 0.5 }],
            })
            .collect();
        for count in [0, 1, 5] {
            let figure = Regression::new(&points[..count], ["organelles", "complexes"], "scores");
            assert_eq!(figure.fit().is_some(), count == 5);
            save(&figure, &dir.path().join("r.png")).unwrap();
            save(&figure, &dir.path().join("r.svg")).unwrap();
        }
    }
}
