use ndarray::{ArrayView1, ArrayView2};

/// Where points lie on a panel: equal scales on both axes, y upwards, the middle of their extent in the middle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    centre: [f32; 2],
    scale: f32,
    size: [f32; 2],
}

impl Frame {
    /// A frame around the finite points of `points: [n, 2]` on a panel of `size` pixels with `margin` on every side.
    pub(super) fn around(points: ArrayView2<'_, f32>, size: (u32, u32), margin: f32) -> Self {
        let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
        for point in points.outer_iter().filter(|p| is_place(*p)) {
            for axis in 0..2 {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        }
        let size = [size.0 as f32, size.1 as f32];
        let fits = |axis: usize| {
            (size[axis] - 2.0 * margin) / (high[axis] - low[axis]).max(f32::MIN_POSITIVE)
        };
        let middle = |axis: usize| f32::midpoint(low[axis], high[axis]);
        let scale = fits(0).min(fits(1));
        Self {
            centre: [middle(0), middle(1)],
            // One point, or none, has no extent.
            scale: if scale.is_finite() { scale } else { 0.0 },
            size,
        }
    }

    /// The pixel of a place; none for a place that is no number.
    pub(super) fn pixel(&self, place: ArrayView1<'_, f32>) -> Option<(i32, i32)> {
        if !is_place(place) {
            return None;
        }
        let offset = |axis: usize| (place[axis] - self.centre[axis]) * self.scale;
        let x = self.size[0] / 2.0 + offset(0);
        let y = self.size[1] / 2.0 - offset(1);
        Some((x.round() as i32, y.round() as i32))
    }
}

fn is_place(point: ArrayView1<'_, f32>) -> bool {
    point.len() >= 2 && point.iter().take(2).all(|v| v.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scales_and_y_upwards() {
        let points = ndarray::array![[0.0f32, 0.0], [4.0, 2.0], [f32::NAN, 9.0]];
        let frame = Frame::around(points.view(), (120, 100), 10.0);
        assert_eq!(frame.pixel(points.row(0)), Some((10, 75)));
        assert_eq!(frame.pixel(points.row(1)), Some((110, 25)));
        assert_eq!(frame.pixel(points.row(2)), None);
        let none = Frame::around(ndarray::Array2::zeros((0, 2)).view(), (120, 100), 10.0);
        assert!(none.pixel(points.row(0)).is_some());
    }
}
