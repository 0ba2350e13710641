use ndarray::{ArrayView2, aview1};
use plotters::prelude::*;

use super::frame::Frame;
use super::montage::draw_tile;
use super::{Area, Drawing, Figure, OTHERS, TILE_SIDE, Tile, class_color};

const MAP: u32 = 860;
const HEAD: u32 = 44;
const COLUMNS: usize = 4;
const CELL: u32 = TILE_SIDE + 24;

/// A map with a route or outlined regions on it, and crops beside it (paper, Fig. 3).
pub struct Landmarks<'a> {
    points: ArrayView2<'a, f32>,
    class: &'a [Option<usize>],
    route: Vec<[f32; 2]>,
    regions: Vec<(String, Vec<[f32; 2]>)>,
    tiles: Vec<Tile<'a>>,
    title: String,
}

impl<'a> Landmarks<'a> {
    /// `points: [n, 2]`; `class[i]` decides the colour of a point, `None` is grey.
    #[must_use]
    pub fn new(points: ArrayView2<'a, f32>, class: &'a [Option<usize>]) -> Self {
        Self {
            points,
            class,
            route: Vec::new(),
            regions: Vec::new(),
            tiles: Vec::new(),
            title: String::new(),
        }
    }

    /// The line above the picture.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Stops of a route, numbered from 1.
    #[must_use]
    pub fn route(mut self, stops: Vec<[f32; 2]>) -> Self {
        self.route = stops;
        self
    }

    /// Adds a region with its name, outlined by its convex hull, in the colour of the class of its number.
    #[must_use]
    pub fn region(mut self, name: impl Into<String>, members: &[[f32; 2]]) -> Self {
        self.regions.push((name.into(), hull(members)));
        self
    }

    /// Crops beside the map, row by row.
    #[must_use]
    pub fn tiles(mut self, tiles: Vec<Tile<'a>>) -> Self {
        self.tiles = tiles;
        self
    }

    fn draw_map<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        let frame = Frame::around(self.points, (MAP, MAP), 40.0);
        let of = |row: usize| self.class.get(row).copied().flatten();
        let mut rows: Vec<usize> = (0..self.points.nrows()).collect();
        rows.sort_by_key(|&row| of(row).is_some());
        for row in rows {
            if let Some(pixel) = frame.pixel(self.points.row(row)) {
                let color = of(row).map_or(OTHERS, class_color).mix(0.5);
                area.draw(&Circle::new(pixel, 2, color.filled()))?;
            }
        }
        let pixel = |place: &[f32; 2]| frame.pixel(aview1(place));
        let mut labels: Vec<(i32, i32, i32)> = Vec::new();
        for (index, (name, outline)) in self.regions.iter().enumerate() {
            let mut path: Vec<(i32, i32)> = outline.iter().filter_map(pixel).collect();
            path.extend(path.first().copied());
            let Some(&top) = path.iter().min_by_key(|p| p.1) else {
                continue;
            };
            let color = class_color(index);
            area.draw(&PathElement::new(path, color.stroke_width(2)))?;
            let place = free_place(top, name, &mut labels);
            let style = ("sans-serif", 18).into_font().color(&color);
            area.draw(&Text::new(name.clone(), place, style))?;
        }
        let stops: Vec<(i32, i32)> = self.route.iter().filter_map(pixel).collect();
        area.draw(&PathElement::new(stops.clone(), BLACK.stroke_width(2)))?;
        for (number, stop) in (1..).zip(stops) {
            area.draw(&Circle::new(stop, 11, WHITE.filled()))?;
            area.draw(&Circle::new(stop, 11, BLACK.stroke_width(2)))?;
            let digits = if number < 10 { 1 } else { 2 };
            let place = (stop.0 - 4 * digits, stop.1 - 9);
            area.draw(&Text::new(number.to_string(), place, ("sans-serif", 17)))?;
        }
        Ok(())
    }
}

impl Figure for Landmarks<'_> {
    fn size(&self) -> (u32, u32) {
        let lines = self.tiles.len().div_ceil(COLUMNS) as u32;
        (MAP + CELL * COLUMNS as u32, HEAD + MAP.max(lines * CELL))
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawing<B> {
        area.draw(&Text::new(self.title.clone(), (12, 10), ("sans-serif", 24)))?;
        let (map, tiles) = area.split_vertically(HEAD).1.split_horizontally(MAP);
        self.draw_map(&map)?;
        let mut rest = tiles;
        for line in self.tiles.chunks(COLUMNS) {
            let (row, below) = rest.split_vertically(CELL);
            let mut right = row;
            for tile in line {
                let (cell, more) = right.split_horizontally(CELL);
                draw_tile(tile, &cell)?;
                right = more;
            }
            rest = below;
        }
        Ok(())
    }
}

/// Where a name fits above `top` without covering an earlier one or leaving the map; remembers it.
fn free_place(top: (i32, i32), name: &str, labels: &mut Vec<(i32, i32, i32)>) -> (i32, i32) {
    const LINE: i32 = 20;
    let width = 10 * name.chars().count() as i32;
    let x = top.0.min(MAP as i32 - width).max(0);
    let covers = |y: i32| {
        let overlaps = |&(other, line, length): &(i32, i32, i32)| {
            (line - y).abs() < LINE && x < other + length && other < x + width
        };
        labels.iter().any(overlaps)
    };
    let start = (top.1 - LINE - 2).max(0);
    let above = (0..)
        .map(|step| start - step * LINE)
        .take_while(|y| *y >= 0);
    let below = (1..40).map(|step| start + step * LINE);
    let y = above.chain(below).find(|y| !covers(*y)).unwrap_or(start);
    labels.push((x, y, width));
    (x, y)
}

/// Corners of the smallest convex region around finite places, in order (Andrew's monotone chain).
fn hull(places: &[[f32; 2]]) -> Vec<[f32; 2]> {
    let mut places: Vec<[f32; 2]> = places
        .iter()
        .copied()
        .filter(|p| p.iter().all(|v| v.is_finite()))
        .collect();
    places.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    places.dedup();
    if places.len() < 3 {
        return places;
    }
    let turns_left = |o: [f32; 2], a: [f32; 2], b: [f32; 2]| {
        (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]) > 0.0
    };
    let half = |places: &mut dyn Iterator<Item = [f32; 2]>| {
        let mut chain: Vec<[f32; 2]> = Vec::new();
        for place in places {
            while let [.., o, a] = chain[..] {
                if turns_left(o, a, place) {
                    break;
                }
                chain.pop();
            }
            chain.push(place);
        }
        // The last corner is the first of the other half.
        chain.pop();
        chain
    };
    let mut corners = half(&mut places.iter().copied());
    corners.extend(half(&mut places.iter().rev().copied()));
    corners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::save;

    #[test]
    fn corners_of_a_square_with_points_inside() {
        let places = [
            [0.0, 0.0],
            [1.0, 1.0],
            [2.0, 0.0],
            [2.0, 2.0],
            [0.0, 2.0],
            [1.0, 0.0],
        ];
        let corners = hull(&places);
        assert_eq!(corners, [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]]);
        assert_eq!(
            hull(&[[1.0, 1.0], [f32::NAN, 0.0], [1.0, 1.0]]),
            [[1.0, 1.0]]
        );
        assert!(hull(&[]).is_empty());
    }

    #[test]
    fn names_do_not_cover_each_other() {
        let mut labels = Vec::new();
        assert_eq!(free_place((100, 200), "abc", &mut labels), (100, 178));
        assert_eq!(free_place((110, 202), "abc", &mut labels), (110, 140));
        assert_eq!(free_place((400, 200), "abc", &mut labels), (400, 178));
        let (x, y) = free_place((MAP as i32, 0), "abc", &mut labels);
        assert!(x + 30 <= MAP as i32 && y == 0);
    }

    #[test]
    fn with_and_without_marks() {
        let dir = tempfile::tempdir().unwrap();
        let points =
            ndarray::Array2::from_shape_fn((30, 2), |(i, j)| ((i * 7 + j * 5) % 13) as f32);
        let class: Vec<Option<usize>> = (0..30).map(|i| (i % 3 > 0).then_some(i % 3)).collect();
        let image = ndarray::Array2::from_shape_fn((9, 9), |(y, x)| (y * x) as f32);
        let tiles = (0..6).map(|i| Tile {
            image: image.view(),
            caption: format!("{i} NAME"),
            glow: None,
        });
        let figure = Landmarks::new(points.view(), &class)
            .title("a route")
            .route(vec![[0.0, 0.0], [4.0, 5.0], [9.0, 9.0]])
            .region("proteasome", &[[1.0, 1.0], [3.0, 1.0], [2.0, 4.0]])
            .tiles(tiles.collect());
        save(&figure, &dir.path().join("l.png")).unwrap();
        save(&figure, &dir.path().join("l.svg")).unwrap();
        let none = Landmarks::new(points.view(), &[]);
        save(&none, &dir.path().join("n.png")).unwrap();
    }
}
