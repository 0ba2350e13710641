//! Flooding of one connected component.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ndarray::{Array2, ArrayView2};

use super::WatershedParams;
use crate::label::Components;

/// Not part of the component, or part of a line.
const WALL: u32 = u32::MAX;

/// One connected component of the mask with its seeds, and its labels once flooded.
pub(super) struct Basin {
    component: u32,
    top: usize,
    left: usize,
    bottom: usize,
    right: usize,
    /// Row, column and label of every seed pixel, row by row.
    seeds: Vec<(usize, usize, u32)>,
    /// Labels of the bounding box with a border of one pixel; empty until flooded.
    state: Vec<u32>,
}

/// A pixel to be reached; the order is level, then arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    level: u64,
    age: u32,
    index: u32,
    source: u32,
}

impl Basin {
    /// One basin per component by number; the first stands for the background.
    pub(super) fn gather(components: &Components, seeds: ArrayView2<'_, u32>) -> Vec<Self> {
        let mut basins: Vec<Self> = (0..components.areas().len() as u32)
            .map(Self::empty)
            .collect();
        for ((y, x), &c) in components.image().indexed_iter() {
            if c > 0 {
                basins[c as usize].include(y, x, seeds[[y, x]]);
            }
        }
        basins
    }

    fn empty(component: u32) -> Self {
        Self {
            component,
            top: usize::MAX,
            left: usize::MAX,
            bottom: 0,
            right: 0,
            seeds: Vec::new(),
            state: Vec::new(),
        }
    }

    fn include(&mut self, y: usize, x: usize, seed: u32) {
        self.top = self.top.min(y);
        self.bottom = self.bottom.max(y + 1);
        self.left = self.left.min(x);
        self.right = self.right.max(x + 1);
        if seed > 0 {
            self.seeds.push((y, x, seed));
        }
    }

    /// Whether seeds of different labels compete for it.
    pub(super) fn is_contested(&self) -> bool {
        self.seeds.iter().any(|s| s.2 != self.seeds[0].2)
    }

    /// The label of all its pixels when it has one kind of seed, else 0.
    pub(super) fn sole_label(&self) -> u32 {
        if self.is_contested() {
            0
        } else {
            self.seeds.first().map_or(0, |s| s.2)
        }
    }

    /// Copies the flooded labels into the image.
    pub(super) fn write(&self, out: &mut Array2<u32>) {
        let stride = self.stride();
        for (i, row) in self
            .state
            .chunks(stride)
            .skip(1)
            .take(self.bottom.saturating_sub(self.top))
            .enumerate()
        {
            for (j, &label) in row[1..stride - 1].iter().enumerate() {
                if label != WALL && label != 0 {
                    out[[self.top + i, self.left + j]] = label;
                }
            }
        }
    }

    fn stride(&self) -> usize {
        self.right.saturating_sub(self.left) + 2
    }

    pub(super) fn flood(
        &mut self,
        surface: ArrayView2<'_, f64>,
        components: ArrayView2<'_, u32>,
        params: WatershedParams,
    ) {
        let stride = self.stride();
        let mut levels = vec![0.0; stride * (self.bottom - self.top + 2)];
        self.state = vec![WALL; levels.len()];
        for y in self.top..self.bottom {
            for x in self.left..self.right {
                if components[[y, x]] == self.component {
                    let i = self.index(y, x);
                    self.state[i] = 0;
                    levels[i] = surface[[y, x]];
                }
            }
        }
        let mut queue: BinaryHeap<Reverse<Step>> = BinaryHeap::new();
        for (source, &(y, x, _)) in self.seeds.iter().enumerate() {
            let index = self.index(y, x) as u32;
            queue.push(Reverse(Step {
                level: 0,
                age: 0,
                index,
                source: source as u32,
            }));
        }
        let mut age = 0;
        while let Some(Reverse(step)) = queue.pop() {
            let label = self.seeds[step.source as usize].2;
            let index = step.index as usize;
            if !self.claim(index, label, params.line) {
                continue;
            }
            for next in [index - stride, index - 1, index + 1, index + stride] {
                if self.state[next] != 0 {
                    continue;
                }
                age += 1;
                let level = levels[next] + params.compactness * self.distance(next, step.source);
                let level = step.level.max(ascending(level));
                queue.push(Reverse(Step {
                    level,
                    age,
                    index: next as u32,
                    source: step.source,
                }));
            }
        }
    }

    /// Labels a free pixel, or makes it part of a line; whether the flood goes on from it.
    fn claim(&mut self, index: usize, label: u32, line: bool) -> bool {
        if self.state[index] != 0 {
            return false;
        }
        let stride = self.stride();
        let foreign = |i: usize| ![0, label, WALL].contains(&self.state[i]);
        if line
            && [index - stride, index - 1, index + 1, index + stride]
                .into_iter()
                .any(foreign)
        {
            self.state[index] = WALL;
            return false;
        }
        self.state[index] = label;
        true
    }

    fn index(&self, y: usize, x: usize) -> usize {
        (y - self.top + 1) * self.stride() + x - self.left + 1
    }

    fn distance(&self, index: usize, source: u32) -> f64 {
        let (y, x, _) = self.seeds[source as usize];
        let dy = (self.top + index / self.stride()) as f64 - 1.0 - y as f64;
        let dx = (self.left + index % self.stride()) as f64 - 1.0 - x as f64;
        (dy * dy + dx * dx).sqrt()
    }
}

/// A number of the same order as a float, above 0 for everything but negative NaN.
fn ascending(value: f64) -> u64 {
    // Adding 0.0 makes -0.0 and 0.0 equal.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_floats_is_kept() {
        let values = [
            f64::NEG_INFINITY,
            -3.5,
            -1e-300,
            0.0,
            1e-300,
            2.0,
            f64::INFINITY,
        ];
        assert!(values.windows(2).all(|v| ascending(v[0]) < ascending(v[1])));
        assert_eq!(ascending(-0.0), ascending(0.0));
        assert!(ascending(f64::NEG_INFINITY) > 0);
    }
}
