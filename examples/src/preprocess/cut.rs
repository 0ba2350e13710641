//! Crops of nuclei.

use cytoself_segment::{
    CropWindow, IntensityRange, Normalization, mask_neighbours, signed_distance,
};
use ndarray::{Array2, Array5, ArrayView2, ArrayView3, ArrayViewMut3, Axis, Zip, s};

use super::options::Options;
use super::planes::{Planes, Stacks};

/// Flat crops `[n, 3, 1, h, w]` of the projected field.
pub(super) fn flat(
    options: &Options,
    planes: &Planes,
    labels: &Array2<u32>,
    cells: &Array2<u32>,
    windows: &[CropWindow],
) -> Array5<f32> {
    let distance = signed_distance(labels.view());
    let [protein, dna, distance] =
        [&planes.protein, &planes.nucleus, &distance].map(|p| p.view().insert_axis(Axis(0)));
    cut(options, [protein, dna], distance, cells, windows)
}

/// Crops with slices, `[n, 3, z, h, w]`.
pub(super) fn stacks(
    options: &Options,
    stacks: &Stacks,
    cells: &Array2<u32>,
    windows: &[CropWindow],
) -> Array5<f32> {
    let channels = stacks.channels.each_ref().map(|c| c.view());
    cut(options, channels, stacks.distance.view(), cells, windows)
}

fn cut(
    options: &Options,
    channels: [ArrayView3<'_, f32>; 2],
    distance: ArrayView3<'_, f32>,
    cells: &Array2<u32>,
    windows: &[CropWindow],
) -> Array5<f32> {
    let (size, depth) = (options.crop_size, distance.len_of(Axis(0)));
    let fov = channels.map(range_of);
    let mut images = Array5::zeros((windows.len(), super::CHANNELS.len(), depth, size, size));
    for (window, mut crop) in windows.iter().zip(images.outer_iter_mut()) {
        let others = options.mask_neighbours.then(|| others(window, cells));
        for (channel, stack) in channels.into_iter().enumerate() {
            let mut pixels = crop.index_axis_mut(Axis(0), channel);
            pixels.assign(&part(window, stack));
            let range = match options.normalization() {
                Normalization::Crop => own_range(pixels.view(), others.as_ref()),
                Normalization::Fov => fov[channel],
            };
            scale(pixels, range, others.as_ref());
        }
        crop.index_axis_mut(Axis(0), 2)
            .assign(&part(window, distance));
    }
    images
}

fn part<'a>(window: &CropWindow, stack: ArrayView3<'a, f32>) -> ArrayView3<'a, f32> {
    let (top, left) = (window.top(), window.left());
    stack.slice_move(s![.., top..top + window.size, left..left + window.size])
}

/// Where a window shows other cells: 1 on the cell of the crop and on background, 0 on the others.
fn others(window: &CropWindow, cells: &Array2<u32>) -> Array2<f32> {
    let mut own = Array2::ones((window.size, window.size));
    mask_neighbours(own.view_mut(), window.cut(cells.view()), window.label, 0.0);
    own
}

fn range_of(stack: ArrayView3<'_, f32>) -> IntensityRange {
    union(stack.outer_iter().map(IntensityRange::of))
}

/// The range of the pixels that are not masked out.
fn own_range(stack: ArrayView3<'_, f32>, own: Option<&Array2<f32>>) -> IntensityRange {
    let Some(own) = own else {
        return range_of(stack);
    };
    let kept = |slice: ArrayView2<'_, f32>| {
        // NaN is passed over.
        let slice: Array2<f32> = Zip::from(&slice)
            .and(own)
            .map_collect(|&v, &own| if own > 0.0 { v } else { f32::NAN });
        IntensityRange::of(slice.view())
    };
    union(stack.outer_iter().map(kept))
}

fn union(ranges: impl Iterator<Item = IntensityRange>) -> IntensityRange {
    let wider = |a: IntensityRange, b: IntensityRange| IntensityRange {
        low: a.low.min(b.low),
        high: a.high.max(b.high),
    };
    let none = IntensityRange {
        low: 0.0,
        high: 0.0,
    };
    ranges.reduce(wider).unwrap_or(none)
}

/// Intensities in 0..1, and 0 on other cells.
fn scale(mut stack: ArrayViewMut3<'_, f32>, range: IntensityRange, own: Option<&Array2<f32>>) {
    for mut slice in stack.outer_iter_mut() {
        range.apply(slice.view_mut());
        if let Some(own) = own {
            slice *= own;
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn other_cells_are_dark_and_do_not_count_for_the_range() {
        let stack = Array3::from_shape_fn((2, 1, 4), |(z, _, x)| (z * 10 + x) as f32);
        let own = ndarray::array![[1.0, 1.0, 1.0, 0.0]];
        let range = own_range(stack.view(), Some(&own));
        assert_eq!((range.low, range.high), (0.0, 12.0));
        assert_eq!(range_of(stack.view()).high, 13.0);
        let mut scaled = stack.clone();
        scale(scaled.view_mut(), range, Some(&own));
        assert_eq!(scaled[[1, 0, 2]], 1.0);
        assert_eq!(scaled[[0, 0, 1]], 1.0 / 12.0);
        assert!(scaled[[0, 0, 3]] == 0.0 && scaled[[1, 0, 3]] == 0.0);
    }
}
