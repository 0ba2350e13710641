//! Properties of the regions of a label image.

use std::f64::consts::PI;

use ndarray::ArrayView2;

/// Rows and columns of a region, half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundingBox {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Row after the last.
    pub bottom: usize,
    /// Column after the last.
    pub right: usize,
}

/// Size, place and shape of one region; lengths in pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Its label.
    pub label: u32,
    /// Pixels.
    pub area: usize,
    /// Where it lies.
    pub bounding_box: BoundingBox,
    /// Mean row and mean column of its pixels.
    pub centroid: [f64; 2],
    /// Second central moments of rows, of columns, and mixed, per pixel; a pixel counts as a unit square.
    pub covariance: [f64; 3],
    /// Whether the bounding box reaches the edge of the image.
    pub touches_edge: bool,
}

impl Region {
    /// Diameter of the circle of equal area.
    #[must_use]
    pub fn equivalent_diameter(&self) -> f64 {
        2.0 * (self.area as f64 / PI).sqrt()
    }

    /// Long and short axis of the ellipse with the same second moments.
    #[must_use]
    pub fn axes(&self) -> [f64; 2] {
        let [rows, columns, mixed] = self.covariance;
        let spread = ((rows - columns).powi(2) + 4.0 * mixed * mixed).sqrt();
        let axis = |sign: f64| 4.0 * ((rows + columns + sign * spread) / 2.0).max(0.0).sqrt();
        [axis(1.0), axis(-1.0)]
    }

    /// Eccentricity of that ellipse: 0 for a circle, towards 1 for a line.
    #[must_use]
    pub fn eccentricity(&self) -> f64 {
        let [long, short] = self.axes();
        if long > 0.0 {
            (1.0 - (short / long).powi(2)).max(0.0).sqrt()
        } else {
            0.0
        }
    }
}

/// The regions of a label image in ascending order of label.
///
/// **Shapes** `labels: [h, w]`.
///
/// # Example
/// ```
/// use cytoself_segment::regions;
/// use ndarray::array;
///
/// let found = regions(array![[0, 3, 3], [0, 3, 3], [0, 0, 0]].view());
/// assert_eq!((found[0].label, found[0].area), (3, 4));
/// assert_eq!(found[0].centroid, [0.5, 1.5]);
/// assert!(found[0].touches_edge);
/// ```
#[must_use]
pub fn regions(labels: ArrayView2<'_, u32>) -> Vec<Region> {
    let labels = labels.as_standard_layout();
    let (dense, count) = super::relabel(labels.view());
    let mut sums = vec![Sums::default(); count];
    for (y, row) in dense.outer_iter().enumerate() {
        let row = row.to_slice().unwrap_or_default();
        let mut x = 0;
        while x < row.len() {
            let label = row[x];
            let end = row[x..]
                .iter()
                .position(|&l| l != label)
                .map_or(row.len(), |i| x + i);
            if let Some(i) = (label as usize).checked_sub(1) {
                sums[i].add_run(labels[[y, x]], y, x, end);
            }
            x = end;
        }
    }
    sums.iter().map(|s| s.region(labels.dim())).collect()
}

/// Exact integer sums over the pixels of a region.
#[derive(Clone, Default)]
struct Sums {
    label: u32,
    area: u64,
    /// First and last row and column.
    rows: Option<(usize, usize)>,
    columns: (usize, usize),
    y: u64,
    x: u64,
    yy: u64,
    xx: u64,
    yx: u64,
}

impl Sums {
    fn add_run(&mut self, label: u32, y: usize, start: usize, end: usize) {
        self.label = label;
        self.columns = match self.rows {
            None => (start, end - 1),
            Some(_) => (self.columns.0.min(start), self.columns.1.max(end - 1)),
        };
        self.rows = Some((self.rows.map_or(y, |r| r.0), y));
        let (n, y, first, last) = ((end - start) as u64, y as u64, start as u64, end as u64 - 1);
        let sum_x = (first + last) * n / 2;
        let squares = |to: u64| to * (to + 1) * (2 * to + 1) / 6;
        self.area += n;
        self.y += n * y;
        self.x += sum_x;
        self.yy += n * y * y;
        self.xx += squares(last) - if first > 0 { squares(first - 1) } else { 0 };
        self.yx += y * sum_x;
    }

    fn region(&self, (height, width): (usize, usize)) -> Region {
        let (top, bottom) = self.rows.map_or((0, 0), |(first, last)| (first, last + 1));
        let bounding_box = BoundingBox {
            top,
            left: self.columns.0,
            bottom,
            right: self.columns.1 + 1,
        };
        let n = self.area as f64;
        let (y, x) = (self.y as f64 / n, self.x as f64 / n);
        // 1/12 is the variance of a unit square.
        let covariance = [
            self.yy as f64 / n - y * y + 1.0 / 12.0,
            self.xx as f64 / n - x * x + 1.0 / 12.0,
            self.yx as f64 / n - y * x,
        ];
        let touches_edge =
            top == 0 || self.columns.0 == 0 || bottom == height || self.columns.1 + 1 == width;
        Region {
            label: self.label,
            area: self.area as usize,
            bounding_box,
            centroid: [y, x],
            covariance,
            touches_edge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn a_disk_is_round_and_a_bar_is_not() {
        let disk = Array2::from_shape_fn((41, 41), |(y, x)| {
            u32::from(y.abs_diff(20).pow(2) + x.abs_diff(20).pow(2) <= 225)
        });
        let region = &regions(disk.view())[0];
        assert!(region.eccentricity() < 1e-6);
        assert!((region.axes()[0] - 30.0).abs() < 0.3);
        assert!((region.equivalent_diameter() - 30.0).abs() < 0.3);
        assert_eq!(
            region.bounding_box,
            BoundingBox {
                top: 5,
                left: 5,
                bottom: 36,
                right: 36
            }
        );
        assert!(!region.touches_edge);

        let bar =
            Array2::from_shape_fn(
                (9, 40),
                |(y, x)| if y == 4 && (5..35).contains(&x) { 8 } else { 0 },
            );
        let region = &regions(bar.view())[0];
        assert_eq!((region.label, region.area), (8, 30));
        assert!((region.axes()[0] - 4.0 * (30.0_f64 * 30.0 / 12.0).sqrt()).abs() < 1e-9);
        assert!(region.eccentricity() > 0.99);
    }
}
