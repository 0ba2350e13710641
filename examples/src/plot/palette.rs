use plotters::style::RGBColor;

/// The colour of what belongs to no class.
pub const OTHERS: RGBColor = RGBColor(205, 205, 205);

/// Twenty colours that stay apart on white, dark and light of each hue.
const CLASSES: [RGBColor; 20] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(227, 119, 194),
    RGBColor(23, 190, 207),
    RGBColor(188, 189, 34),
    RGBColor(20, 60, 120),
    RGBColor(120, 200, 90),
    RGBColor(255, 187, 120),
    RGBColor(152, 223, 138),
    RGBColor(255, 152, 150),
    RGBColor(197, 176, 213),
    RGBColor(196, 156, 148),
    RGBColor(247, 182, 210),
    RGBColor(158, 218, 229),
    RGBColor(219, 219, 141),
    RGBColor(174, 199, 232),
];

/// Colour of class `index`: the first twenty are chosen by hand, the rest walk around the hues.
#[must_use]
pub fn class_color(index: usize) -> RGBColor {
    CLASSES.get(index).copied().unwrap_or_else(|| {
        // Steps of the golden angle never come back to a used hue.
        let hue = (index as f64 * 0.618_033_988_749_895).fract();
        let lightness = [0.42, 0.58, 0.7][index % 3];
        hsl(hue, 0.65, lightness)
    })
}

/// Blue, white, red for -1, 0, 1; values outside are clipped, NaN is grey.
#[must_use]
pub fn diverging(value: f64) -> RGBColor {
    if value.is_nan() {
        return OTHERS;
    }
    let end = if value < 0.0 {
        (33.0, 81.0, 219.0)
    } else {
        (227.0, 38.0, 13.0)
    };
    let share = value.abs().min(1.0);
    let mix = |to: f64| (255.0 + (to - 255.0) * share).round() as u8;
    RGBColor(mix(end.0), mix(end.1), mix(end.2))
}

fn hsl(hue: f64, saturation: f64, lightness: f64) -> RGBColor {
    let reach = saturation * lightness.min(1.0 - lightness);
    let channel = |offset: f64| {
        let k = (offset + hue * 12.0) % 12.0;
        let value = lightness - reach * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    };
    RGBColor(channel(0.0), channel(8.0), channel(4.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_scale() {
        assert_eq!(diverging(0.0), RGBColor(255, 255, 255));
        assert_eq!(diverging(-7.0), diverging(-1.0));
        assert_ne!(diverging(1.0), diverging(-1.0));
    }

    #[test]
    fn two_hundred_classes_have_two_hundred_colors() {
        let mut colors: Vec<_> = (0..200).map(class_color).map(|c| (c.0, c.1, c.2)).collect();
        colors.sort_unstable();
        colors.dedup();
        assert_eq!(colors.len(), 200);
    }
}
