use std::ops::Range;

use ndarray::{Array2, ArrayView2};
use plotters::prelude::*;

use super::{Area, Drawing, Figure, class_color, diverging};

const MAP: u32 = 800;
const TREE: u32 = 170;
const TRACK: u32 = 22;
const SIDE: u32 = 150;
const MARGIN: u32 = 20;
const LEGEND: u32 = 190;

/// A merge of the tree to draw: the centres of its two sides in units of leaves, their heights and its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bracket {
    /// Centres of the two sides, in leaves from the left.
    pub sides: [f64; 2],
    /// Heights at which the two sides begin.
    pub from: [f64; 2],
    /// Height of the merge.
    pub height: f64,
}

/// A correlation matrix in leaf order with its tree above and its clusters beside it.
pub struct Clustermap<'a> {
    matrix: ArrayView2<'a, f64>,
    tree: &'a [Bracket],
    clusters: &'a [(String, Range<usize>)],
    track: Option<Track<'a>>,
    title: String,
    cells: usize,
}

/// An annotation of the positions.
struct Track<'a> {
    name: &'a str,
    class: &'a [Option<usize>],
    names: &'a [String],
}

impl<'a> Clustermap<'a> {
    /// `matrix: [n, n]` in leaf order, values in -1..1; `clusters` are named ranges of positions.
    #[must_use]
    pub fn new(
        matrix: ArrayView2<'a, f64>,
        tree: &'a [Bracket],
        clusters: &'a [(String, Range<usize>)],
    ) -> Self {
        Self {
            matrix,
            tree,
            clusters,
            track: None,
            title: String::new(),
            cells: MAP as usize,
        }
    }

    /// The line above the picture.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Adds a line of colours above the map with a legend beside it: `class[position]` indexes `names`.
    #[must_use]
    pub fn track(mut self, name: &'a str, class: &'a [Option<usize>], names: &'a [String]) -> Self {
        self.track = Some(Track { name, class, names });
        self
    }

    /// At most this many cells along a side; larger matrices are averaged in blocks. An SVG wants about 150.
    #[must_use]
    pub fn cells(mut self, cells: usize) -> Self {
        self.cells = cells.clamp(1, MAP as usize);
        self
    }

    /// Lines of colours above the map.
    fn tracks(&self) -> u32 {
        1 + u32::from(self.track.is_some())
    }

    fn x(&self, leaf: f64) -> i32 {
        (leaf / self.matrix.ncols().max(1) as f64 * f64::from(MAP)).round() as i32
    }

    fn draw_tree<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let highest = self
            .tree
            .iter()
            .map(|b| b.height)
            .fold(f64::MIN_POSITIVE, f64::max);
        let y = |height: f64| ((1.0 - height / highest) * f64::from(TREE - 6)).round() as i32 + 3;
        for bracket in self.tree {
            let [left, right] = bracket.sides.map(|side| self.x(side));
            let top = y(bracket.height);
            let path = vec![
                (left, y(bracket.from[0])),
                (left, top),
                (right, top),
                (right, y(bracket.from[1])),
            ];
            area.draw(&PathElement::new(path, BLACK.stroke_width(1)))?;
        }
        Ok(())
    }

    fn draw_track<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        for (index, (_, range)) in self.clusters.iter().enumerate() {
            let corners = [
                (self.x(range.start as f64), 2),
                (self.x(range.end as f64), TRACK as i32 - 4),
            ];
            area.draw(&Rectangle::new(corners, class_color(index).filled()))?;
        }
        Ok(())
    }

    fn draw_annotation<B: DrawingBackend>(
        track: &Track<'_>,
        x: impl Fn(f64) -> i32,
        area: &Area<'_, B>,
    ) -> Drawing<B> {
        for run in runs(track.class) {
            if let Some(class) = track.class[run.start] {
                let corners = [
                    (x(run.start as f64), 2),
                    (x(run.end as f64), TRACK as i32 - 4),
                ];
                area.draw(&Rectangle::new(corners, class_color(class).filled()))?;
            }
        }
        Ok(())
    }

    fn draw_legend<B: DrawingBackend>(track: &Track<'_>, area: &Area<'_, B>) -> Drawing<B> {
        area.draw(&Text::new(track.name, (4, 0), ("sans-serif", 16)))?;
        for (index, name) in track.names.iter().enumerate() {
            let top = 26 + index as i32 * 22;
            let corners = [(4, top), (18, top + 14)];
            area.draw(&Rectangle::new(corners, class_color(index).filled()))?;
            area.draw(&Text::new(name.clone(), (26, top - 2), ("sans-serif", 16)))?;
        }
        Ok(())
    }

    fn draw_map<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let blocks = block_means(self.matrix, self.cells);
        let size = blocks.nrows().max(1) as f64;
        let pixel = |cell: usize| (cell as f64 / size * f64::from(MAP)).round() as i32;
        for (row, values) in blocks.outer_iter().enumerate() {
            let mut start = 0;
            while start < values.len() {
                let color = diverging(values[start]);
                let end = (start..values.len())
                    .find(|&c| diverging(values[c]) != color)
                    .unwrap_or(values.len());
                let corners = [(pixel(start), pixel(row)), (pixel(end), pixel(row + 1))];
                area.draw(&Rectangle::new(corners, color.filled()))?;
                start = end;
            }
        }
        Ok(())
    }

    fn draw_side<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        for (index, (name, range)) in self.clusters.iter().enumerate() {
            let (top, bottom) = (self.x(range.start as f64), self.x(range.end as f64));
            area.draw(&Rectangle::new(
                [(4, top), (18, bottom)],
                class_color(index).filled(),
            ))?;
            if bottom - top >= 14 {
                let text = format!("{name} ({})", range.len());
                area.draw(&Text::new(
                    text,
                    (26, i32::midpoint(top, bottom) - 8),
                    ("sans-serif", 16),
                ))?;
            }
        }
        Ok(())
    }

    fn draw_scale<B: DrawingBackend>(area: &Area<'_, B>) -> Drawing<B> {
        for step in 0..=60 {
            let value = 1.0 - f64::from(step) / 30.0;
            let top = 30 + step * 2;
            area.draw(&Rectangle::new(
                [(4, top), (18, top + 2)],
                diverging(value).filled(),
            ))?;
        }
        for (text, y) in [("1", 22), ("0", 82), ("-1", 142)] {
            area.draw(&Text::new(text, (26, y), ("sans-serif", 16)))?;
        }
        area.draw(&Text::new("Pearson r", (4, 0), ("sans-serif", 16)))
    }
}

impl Figure for Clustermap<'_> {
    fn size(&self) -> (u32, u32) {
        let legend = if self.track.is_some() { LEGEND } else { 0 };
        (
            MARGIN + MAP + SIDE + legend,
            40 + TREE + self.tracks() * TRACK + MAP + MARGIN,
        )
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let (head, body) = area.split_vertically(40);
        head.draw(&Text::new(
            self.title.clone(),
            (MARGIN as i32, 10),
            ("sans-serif", 22),
        ))?;
        let (_, body) = body.split_horizontally(MARGIN);
        let (left, right) = body.split_horizontally(MAP);
        let (tree, rest) = left.split_vertically(TREE);
        let (track, rest) = rest.split_vertically(TRACK);
        let (right, legend) = right.split_horizontally(SIDE);
        let (scale, side) = right.split_vertically(TREE + self.tracks() * TRACK);
        let map = match &self.track {
            None => rest,
            Some(annotation) => {
                let (line, map) = rest.split_vertically(TRACK);
                Self::draw_annotation(annotation, |leaf| self.x(leaf), &line)?;
                Self::draw_legend(annotation, &legend)?;
                map
            }
        };
        self.draw_tree(&tree)?;
        self.draw_track(&track)?;
        self.draw_map(&map)?;
        self.draw_side(&side)?;
        Self::draw_scale(&scale)
    }
}

/// Runs of equal entries.
fn runs(class: &[Option<usize>]) -> Vec<Range<usize>> {
    let mut start = 0;
    class
        .chunk_by(|a, b| a == b)
        .map(|run| {
            start += run.len();
            start - run.len()..start
        })
        .collect()
}

/// Means of square blocks, so that the result has at most `cells` rows and columns.
fn block_means(matrix: ArrayView2<'_, f64>, cells: usize) -> Array2<f64> {
    let n = matrix.nrows();
    let cells = cells.min(n);
    let range = |cell: usize| cell * n / cells..(cell + 1) * n / cells;
    Array2::from_shape_fn((cells, cells), |(i, j)| {
        let block = matrix.slice(ndarray::s![range(i), range(j)]);
        block.sum() / block.len().max(1) as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::save;

    #[test]
    fn blocks_are_means() {
        let matrix = Array2::from_shape_fn((5, 5), |(i, j)| (i * 5 + j) as f64);
        assert_eq!(block_means(matrix.view(), 9), matrix);
        let blocks = block_means(matrix.view(), 2);
        assert_eq!(blocks[[0, 0]], 3.0);
        assert_eq!(blocks[[1, 1]], 18.0);
    }

    #[test]
    fn a_picture_of_any_size() {
        let dir = tempfile::tempdir().unwrap();
        for n in [1usize, 2, 30] {
            let matrix = Array2::from_shape_fn((n, n), |(i, j)| if i == j { 1.0 } else { -0.3 });
            let tree = [Bracket {
                sides: [0.5, 1.5],
                from: [0.0, 0.0],
                height: 2.0,
            }];
            let clusters = [("i".to_string(), 0..n)];
            let map = Clustermap::new(matrix.view(), &tree, &clusters)
                .title("codes")
                .cells(8);
            save(&map, &dir.path().join("c.svg")).unwrap();
            save(&map, &dir.path().join("c.png")).unwrap();
            let names = ["er".to_string()];
            let class: Vec<Option<usize>> = (0..n).map(|i| (i % 3 > 0).then_some(0)).collect();
            save(
                &map.track("family", &class, &names),
                &dir.path().join("t.svg"),
            )
            .unwrap();
        }
        let svg = std::fs::read_to_string(dir.path().join("t.svg")).unwrap();
        assert!(svg.contains("family"));
    }

    #[test]
    fn runs_of_equal_entries() {
        assert_eq!(runs(&[None, None, Some(1), None]), [0..2, 2..3, 3..4]);
        assert!(runs(&[]).is_empty());
    }
}
