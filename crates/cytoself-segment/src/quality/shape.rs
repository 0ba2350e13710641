//! How convex a region is.

use image::{GrayImage, Luma};
use imageproc::contours::{BorderType, find_contours};
use imageproc::geometry::convex_hull;
use imageproc::point::Point;
use ndarray::ArrayView2;

use crate::label::Region;

/// Area of a region divided by the area of its convex hull: 1 for a convex region, less with every dent.
///
/// The hull is drawn around the middles of the sides of the pixels, which neither favours nor punishes small regions.
///
/// **Shapes** `labels: [h, w]`, of which `region` is one.
///
/// # Example
/// ```
/// use cytoself_segment::{regions, solidity};
/// use ndarray::array;
///
/// let labels = array![[1, 0, 0, 2, 2], [1, 0, 0, 2, 2], [1, 1, 1, 2, 2]];
/// let found = regions(labels.view());
/// assert_eq!(solidity(labels.view(), &found[1]), 1.0);
/// // Five pixels in a hull of 5.5.
/// assert!((solidity(labels.view(), &found[0]) - 5.0 / 5.5).abs() < 1e-12);
/// ```
#[must_use]
pub fn solidity(labels: ArrayView2<'_, u32>, region: &Region) -> f64 {
    let hull = convex_hull(outline_sides(labels, region).as_slice());
    // Twice the area, in half pixels: eight per pixel.
    let area = doubled_area(&hull) as f64 / 8.0;
    if area > 0.0 {
        (region.area as f64 / area).min(1.0)
    } else {
        1.0
    }
}

/// The middles of the sides of the pixels on the outer borders of a region, in half pixels.
fn outline_sides(labels: ArrayView2<'_, u32>, region: &Region) -> Vec<Point<i32>> {
    let b = region.bounding_box;
    let (height, width) = ((b.bottom - b.top) as u32, (b.right - b.left) as u32);
    // One pixel of background all around, as a border at the edge of the image would not be found.
    let picture = GrayImage::from_fn(width + 2, height + 2, |x, y| {
        let inside = (1..=width).contains(&x) && (1..=height).contains(&y);
        let at = [
            b.top + (y as usize).saturating_sub(1),
            b.left + (x as usize).saturating_sub(1),
        ];
        Luma([u8::from(inside && labels[at] == region.label) * 255])
    });
    let outer = find_contours::<i32>(&picture)
        .into_iter()
        .filter(|c| c.border_type == BorderType::Outer);
    let sides = |p: Point<i32>| {
        [(0, 1), (1, 0), (0, -1), (-1, 0)].map(|(dx, dy)| Point::new(2 * p.x + dx, 2 * p.y + dy))
    };
    outer.flat_map(|c| c.points).flat_map(sides).collect()
}

/// Twice the area of a polygon.
fn doubled_area(polygon: &[Point<i32>]) -> i64 {
    let next = polygon.iter().cycle().skip(1);
    let cross = |(a, b): (&Point<i32>, &Point<i32>)| {
        i64::from(a.x) * i64::from(b.y) - i64::from(b.x) * i64::from(a.y)
    };
    polygon.iter().zip(next).map(cross).sum::<i64>().abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::regions;
    use ndarray::Array2;

    #[test]
    fn a_disk_is_convex_and_a_ring_sector_is_not() {
        let disk = Array2::from_shape_fn((43, 43), |(y, x)| {
            u32::from(y.abs_diff(21).pow(2) + x.abs_diff(21).pow(2) <= 400)
        });
        let of = |labels: &Array2<u32>| solidity(labels.view(), &regions(labels.view())[0]);
        assert!(of(&disk) > 0.97);
        let mut dented = disk.clone();
        dented.slice_mut(ndarray::s![..22, 15..28]).fill(0);
        assert!(of(&dented) < 0.85);
        assert_eq!(of(&ndarray::array![[5]]), 1.0);
    }
}
