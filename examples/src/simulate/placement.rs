//! Where the cells of a field are: crowded colonies of nuclei that do not overlap.

use super::cell::{Cell, Phase};
use super::plane::smooth_noise;
use super::rng::Rng;

/// Cells beyond the border are drawn too, so that the border cuts cells as a camera does.
const MARGIN: f32 = 60.0;

/// Places about `density` nuclei per 1024 x 1024 pixels in a square field of `size` pixels.
///
/// Candidates are taken one after the other where a smooth random map says a colony is, and refused where they would
/// overlap an earlier nucleus.
#[must_use]
pub fn place_cells(size: usize, density: f32, rng: &mut Rng) -> Vec<Cell> {
    let side = size as f32 + 2.0 * MARGIN;
    let wanted = (density * (side / 1024.0).powi(2)).round() as usize;
    let cells_across = (side / 16.0) as usize + 1;
    let colonies = smooth_noise(cells_across, cells_across, 8.0, rng);
    let grouping = rng.range(0.8, 2.2);
    let mut cells: Vec<Cell> = Vec::with_capacity(wanted);
    for _ in 0..wanted * 80 {
        if cells.len() == wanted {
            break;
        }
        let (x, y) = (rng.range(0.0, side), rng.range(0.0, side));
        let tile = (y / 16.0) as usize * cells_across + (x / 16.0) as usize;
        let welcome = 1.0 / (1.0 + (-3.0 * grouping * colonies.data[tile]).exp());
        if !rng.chance(welcome) {
            continue;
        }
        let cell = Cell::draw(x - MARGIN, y - MARGIN, Phase::draw(rng), rng);
        // Touching nuclei are common in a crowded culture; most keep a little distance.
        let gap = if rng.chance(0.15) {
            0.5
        } else {
            rng.range(2.0, 10.0)
        };
        if cells.iter().all(|other| apart(&cell, other, gap)) {
            cells.push(cell);
        }
    }
    cells
}

/// Whether two nuclei keep a distance of `gap` pixels; the chromosomes of a mitotic cell keep the distance of its body.
fn apart(a: &Cell, b: &Cell, gap: f32) -> bool {
    let (angle, distance) = a.polar(b.x, b.y);
    if distance > 220.0 {
        return true;
    }
    let shape = |cell: &Cell, angle: f32| {
        // The widest of three directions: the outlines are not circles.
        [-0.5, 0.0, 0.5]
            .iter()
            .map(|d| cell.nucleus.at(angle + d) * if *d == 0.0 { 1.0 } else { 0.93 })
            .fold(0.0, f32::max)
            + if cell.has_nucleus() { 0.0 } else { 14.0 }
    };
    distance > shape(a, angle) + shape(b, angle + std::f32::consts::PI) + gap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_about_as_many_nuclei_as_asked() {
        let cells = place_cells(768, 75.0, &mut Rng::new(4, &[]));
        let inside = cells
            .iter()
            .filter(|c| (0.0..768.0).contains(&c.x) && (0.0..768.0).contains(&c.y))
            .count();
        assert!((28..=56).contains(&inside), "{inside}");
    }
}
