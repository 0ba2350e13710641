//! Maps of neighbouring channels, as many as a vector has lanes, as one map of vectors, and back.

use crate::ops::simd::{InstructionSet, kernel};

/// Where the pixels of a map come to lie in a larger one of vectors: offsets in f32, row by row.
pub(crate) fn places(
    [height, width]: [usize; 2],
    [top, left]: [usize; 2],
    pitch: usize,
    lanes: usize,
) -> Vec<usize> {
    (0..height)
        .flat_map(|y| (0..width).map(move |x| ((y + top) * pitch + x + left) * lanes))
        .collect()
}

kernel! {
    /// Lane `c` of the vector at `places[p]` becomes pixel `p` of map `c`, for `maps` maps of `pixels` pixels each, one after another.
    unsafe fn gather_maps<L>(maps: usize, pixels: usize, planes: *const f32, places: *const usize, to: *mut f32) {
        if maps < L::N || pixels < L::N {
            for p in 0..pixels {
                for c in 0..maps {
                    *to.add(*places.add(p) + c) = *planes.add(c * pixels + p);
                }
            }
            return;
        }
        let mut p = 0;
        loop {
            L::transpose(planes.add(p), pixels, |i| to.add(*places.add(p + i)));
            if p + L::N >= pixels {
                return;
            }
            // The last block overlaps the one before.
            p = (p + L::N).min(pixels - L::N);
        }
    }
}

kernel! {
    /// The inverse: `maps` maps from the lanes of `pixels` vectors that lie one after another.
    unsafe fn scatter_maps<L>(maps: usize, pixels: usize, from: *const f32, planes: *mut f32) {
        if maps < L::N || pixels < L::N {
            for p in 0..pixels {
                for c in 0..maps {
                    *planes.add(c * pixels + p) = *from.add(p * L::N + c);
                }
            }
            return;
        }
        let mut p = 0;
        loop {
            L::transpose(from.add(p * L::N), L::N, |c| planes.add(c * pixels + p));
            if p + L::N >= pixels {
                return;
            }
            p = (p + L::N).min(pixels - L::N);
        }
    }
}

/// Writes the maps in `planes`, as many as there are lanes at most, into the lanes of `to`. Other vectors and lanes of `to` stay.
pub(crate) fn gather(isa: InstructionSet, planes: &[f32], places: &[usize], to: &mut [f32]) {
    let pixels = places.len();
    let maps = planes.len() / pixels.max(1);
    assert!(
        maps <= isa.lanes()
            && places
                .last()
                .is_none_or(|last| last + isa.lanes() <= to.len())
    );
    // SAFETY: `planes` holds `maps * pixels` values; places ascend, so the last bounds all of them.
    unsafe {
        gather_maps(
            isa,
            maps,
            pixels,
            planes.as_ptr(),
            places.as_ptr(),
            to.as_mut_ptr(),
        )
    };
}

/// Writes the lanes of the vectors in `from` as maps of `pixels` pixels into `planes`, as many as there are lanes at most.
pub(crate) fn scatter(isa: InstructionSet, from: &[f32], pixels: usize, planes: &mut [f32]) {
    let maps = planes.len() / pixels.max(1);
    assert!(maps <= isa.lanes() && from.len() >= pixels * isa.lanes());
    // SAFETY: `from` holds `pixels` vectors, `planes` `maps * pixels` values.
    unsafe { scatter_maps(isa, maps, pixels, from.as_ptr(), planes.as_mut_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for &isa in InstructionSet::available() {
            let n = isa.lanes();
            for (maps, height, width) in [(n, 1, 1), (n, 3, 3), (n, 5, 7), (5, 4, 4), (1, 2, 9)] {
                let pixels = height * width;
                let planes: Vec<f32> = (0..maps * pixels).map(|v| v as f32).collect();
                let pitch = width + 3;
                let places = places([height, width], [2, 1], pitch, n);
                let mut wide = vec![-1.0; (height + 2) * pitch * n];
                gather(isa, &planes, &places, &mut wide);
                for (p, place) in places.iter().enumerate() {
                    for c in 0..maps {
                        assert_eq!(wide[place + c], planes[c * pixels + p]);
                    }
                }
                let written = wide.iter().filter(|v| **v >= 0.0).count();
                assert_eq!(written, planes.len());
                let dense: Vec<f32> = places
                    .iter()
                    .flat_map(|p| wide[*p..p + n].to_vec())
                    .collect();
                let mut back = vec![0.0; planes.len()];
                scatter(isa, &dense, pixels, &mut back);
                assert_eq!(back, planes);
            }
        }
    }
}
