//! The OpenCell chain against scikit-image 0.26, step by step (`parity/segment` of the data folder).

#[allow(clippy::unwrap_used, missing_docs)]
mod support;

use cytoself_segment::{Agreement, OpenCellParams, regions, signed_distance};
use ndarray::Array2;

/// Image, scale and Li threshold, from the manifest of the fixture.
const IMAGES: [(&str, f64, f64); 6] = [
    (
        "10ba6cbee4873b32d5626a118a339832ba2b15d8643f66dddcd7cb2ec80fbc28",
        0.474,
        10.999249386550266,
    ),
    (
        "1400420310c9094361a8a243545187f1d4c2365e081b3bb08c5fa29c7491a55b",
        0.726,
        9.183124955749323,
    ),
    (
        "1f6b7cead15344593b32d5f2345fc26713dc74d9b31306c824209d67da401fd8",
        0.47,
        12.342431021053576,
    ),
    (
        "20e209f6ffa120a72712e1b4c1d3e24d1339227e2936abd4bbd49a636fada423",
        0.887,
        10.493093557422219,
    ),
    (
        "2abc40c118bc7303592c8bb95a80361e27560854b8971ab34dcf91966575b1f2",
        0.499,
        13.417410091002843,
    ),
    (
        "2c840a94d216f5ef4e499b53ae885e9b022cbf639e004ec788436093837823b2",
        0.9,
        11.75267441794746,
    ),
];
/// Masks may differ in this many pixels.
const PIXELS: usize = 5;

fn differing(mask: &Array2<bool>, reference: &Array2<f64>) -> usize {
    mask.iter()
        .zip(reference)
        .filter(|&(&a, &b)| a != (b > 0.0))
        .count()
}

#[test]
fn every_step_equals_the_reference() {
    let Some(data) = support::data() else { return };
    let (mut matched, mut total) = (0, 0);
    for (name, scale, threshold) in IMAGES {
        let image = support::read_png(
            &data
                .join("nuclei_dsb2018/images")
                .join(format!("{name}.png")),
        );
        let reference = |step: &str| {
            support::read_npz(
                &data.join(format!("parity/segment/{}.npz", &name[..12])),
                step,
            )
        };
        let chain = OpenCellParams::default().scale(scale).check().unwrap();
        let steps = chain.steps(image.view()).unwrap();
        let pixels = [
            differing(&steps.background, &reference("background")),
            differing(&steps.refined, &reference("refined")),
            differing(&steps.cleaned, &reference("cleaned")),
        ];
        assert!(pixels.iter().all(|&p| p <= PIXELS), "{name}: {pixels:?}");
        assert!(
            (steps.threshold - threshold).abs() < 1e-6,
            "{name}: {} {threshold}",
            steps.threshold
        );

        let watershed = reference("watershed").mapv(|v| v as u32);
        let regions_agree = Agreement::new(watershed.view(), steps.watershed.view())
            .unwrap()
            .matches(0.9);
        let nuclei = reference("nuclei").mapv(|v| v as u32);
        let agreement = Agreement::new(nuclei.view(), steps.labels(false).view())
            .unwrap()
            .matches(0.9);
        println!(
            "{}: masks differ in {pixels:?} px; regions {regions_agree:?}, nuclei {agreement:?}",
            &name[..12]
        );
        assert_eq!((regions_agree.missed, regions_agree.extra), (0, 0));
        matched += agreement.matched;
        total += regions(nuclei.view()).len();
    }
    assert!(
        matched as f64 >= 0.99 * total as f64,
        "{matched} of {total} nuclei"
    );
}

#[test]
fn signed_distance_equals_the_reference() {
    let Some(data) = support::data() else { return };
    for (name, ..) in IMAGES {
        let reference = |step: &str| {
            support::read_npz(
                &data.join(format!("parity/segment/{}.npz", &name[..12])),
                step,
            )
        };
        let expected = reference("signed_distance");
        let found = signed_distance(reference("nuclei").mapv(|v| v as u32).view());
        let largest = found
            .iter()
            .zip(&expected)
            .map(|(&a, b)| (f64::from(a) - b).abs())
            .fold(0.0, f64::max);
        println!("{}: largest difference {largest} px", &name[..12]);
        assert!(largest < 1e-4, "{name}: {largest}");
    }
}
