//! Connected components of a mask, by runs and union-find.

use ndarray::{Array2, ArrayView2};

/// Which neighbours belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connectivity {
    /// Pixels that share a side.
    Four,
    /// Pixels that share a side or a corner.
    Eight,
}

/// The connected components of a mask, numbered from 1 in the order of their first pixel (row by row).
#[derive(Debug, Clone)]
pub struct Components {
    image: Array2<u32>,
    areas: Vec<usize>,
}

impl Components {
    /// Component number of every pixel, 0 for background.
    #[must_use]
    pub fn image(&self) -> &Array2<u32> {
        &self.image
    }

    /// The label image itself.
    #[must_use]
    pub fn into_image(self) -> Array2<u32> {
        self.image
    }

    /// Pixels of each component by number; entry 0 is the background.
    #[must_use]
    pub fn areas(&self) -> &[usize] {
        &self.areas
    }

    /// How many components there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.areas.len() - 1
    }

    /// The mask of the components whose number `keep` accepts.
    #[must_use]
    pub fn retain(&self, keep: impl Fn(u32) -> bool) -> Array2<bool> {
        let kept: Vec<bool> = (0..self.areas.len() as u32)
            .map(|l| l > 0 && keep(l))
            .collect();
        self.image.mapv(|l| kept[l as usize])
    }
}

/// Connected components of `mask`.
///
/// **Shapes** `mask: [h, w]` -> label image `[h, w]`.
///
/// # Example
/// ```
/// use cytoself_segment::{Connectivity, label_components};
/// use ndarray::array;
///
/// let mask = array![[true, false, true], [false, true, true]];
/// let four = label_components(mask.view(), Connectivity::Four);
/// assert_eq!(four.image(), &array![[1, 0, 2], [0, 2, 2]]);
/// assert_eq!(four.areas(), [2, 1, 3]);
/// assert_eq!(label_components(mask.view(), Connectivity::Eight).count(), 1);
/// ```
#[must_use]
pub fn label_components(mask: ArrayView2<'_, bool>, connectivity: Connectivity) -> Components {
    let mask = mask.as_standard_layout();
    let (height, width) = mask.dim();
    let runs = Runs::find(mask.as_slice().unwrap_or_default(), height, width);
    let (numbers, areas) = runs.number(&runs.join(connectivity), height * width);
    let mut image = Array2::zeros((height, width));
    for (mut row, window) in image.outer_iter_mut().zip(runs.row_starts.windows(2)) {
        let row = row.as_slice_mut().unwrap_or_default();
        let here = window[0]..window[1];
        for (&(start, end), &number) in runs.spans[here.clone()].iter().zip(&numbers[here]) {
            row[start as usize..end as usize].fill(number);
        }
    }
    Components { image, areas }
}

/// Maximal runs of set pixels, row by row.
struct Runs {
    /// Half-open column ranges.
    spans: Vec<(u32, u32)>,
    /// Index of the first run of each row, with one more entry at the end.
    row_starts: Vec<usize>,
}

impl Runs {
    fn find(mask: &[bool], height: usize, width: usize) -> Self {
        let mut runs = Self {
            spans: Vec::new(),
            row_starts: Vec::with_capacity(height + 1),
        };
        for row in mask.chunks(width.max(1)).take(height) {
            runs.row_starts.push(runs.spans.len());
            let mut x = 0;
            while let Some(start) = row[x..].iter().position(|&v| v).map(|i| x + i) {
                let end = row[start..]
                    .iter()
                    .position(|&v| !v)
                    .map_or(width, |i| start + i);
                runs.spans.push((start as u32, end as u32));
                x = end;
            }
        }
        runs.row_starts.push(runs.spans.len());
        runs
    }

    /// Union-find parents; the root of a component is its first run.
    fn join(&self, connectivity: Connectivity) -> Vec<u32> {
        let reach = u32::from(connectivity == Connectivity::Eight);
        let mut parents: Vec<u32> = (0..self.spans.len() as u32).collect();
        for rows in self.row_starts.windows(3) {
            let (mut above, mut here) = (rows[0], rows[1]);
            while above < rows[1] && here < rows[2] {
                let ((a0, a1), (b0, b1)) = (self.spans[above], self.spans[here]);
                if a0 < b1 + reach && b0 < a1 + reach {
                    union(&mut parents, above as u32, here as u32);
                }
                if a1 < b1 { above += 1 } else { here += 1 }
            }
        }
        parents
    }

    /// Number of each run and area of each number.
    fn number(&self, parents: &[u32], pixels: usize) -> (Vec<u32>, Vec<usize>) {
        let mut numbers = vec![0_u32; parents.len()];
        let mut areas = vec![0_usize];
        for i in 0..parents.len() {
            let parent = parents[i] as usize;
            if parent == i {
                numbers[i] = areas.len() as u32;
                areas.push(0);
            } else {
                // Parents come before their children, so the parent has its number already.
                numbers[i] = numbers[parent];
            }
            let (start, end) = self.spans[i];
            areas[numbers[i] as usize] += (end - start) as usize;
        }
        areas[0] = pixels - areas.iter().sum::<usize>();
        (numbers, areas)
    }
}

fn root(parents: &mut [u32], mut i: u32) -> u32 {
    while parents[i as usize] != i {
        let grandparent = parents[parents[i as usize] as usize];
        parents[i as usize] = grandparent;
        i = grandparent;
    }
    i
}

fn union(parents: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parents, a), root(parents, b));
    let (first, second) = (a.min(b), a.max(b));
    parents[second as usize] = first;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Flood fill from each pixel in turn.
    fn reference(mask: &Array2<bool>, connectivity: Connectivity) -> Array2<u32> {
        let (h, w) = mask.dim();
        let mut out = Array2::zeros((h, w));
        let mut next = 0;
        for start in ndarray::indices((h, w)) {
            if !mask[start] || out[start] != 0 {
                continue;
            }
            next += 1;
            out[start] = next;
            let mut queue = VecDeque::from([start]);
            while let Some((y, x)) = queue.pop_front() {
                for (dy, dx) in ndarray::indices((3, 3)) {
                    let (v, u) = ((y + dy).wrapping_sub(1), (x + dx).wrapping_sub(1));
                    let diagonal = dy != 1 && dx != 1;
                    if v < h
                        && u < w
                        && !(diagonal && connectivity == Connectivity::Four)
                        && mask[[v, u]]
                        && out[[v, u]] == 0
                    {
                        out[[v, u]] = next;
                        queue.push_back((v, u));
                    }
                }
            }
        }
        out
    }

    #[test]
    fn equals_flood_fill() {
        for (percent, size) in [
            (30, (17, 40)),
            (55, (40, 33)),
            (65, (25, 25)),
            (100, (3, 4)),
            (0, (3, 4)),
            (50, (0, 4)),
            (50, (4, 0)),
        ] {
            let mask = Array2::from_shape_fn(size, |(y, x)| {
                (y * 7919 + x * 104_729 + y * x * 37) % 100 < percent
            });
            for connectivity in [Connectivity::Four, Connectivity::Eight] {
                let found = label_components(mask.view(), connectivity);
                assert_eq!(found.image(), &reference(&mask, connectivity));
                assert_eq!(found.areas().iter().sum::<usize>(), mask.len());
            }
        }
    }
}
