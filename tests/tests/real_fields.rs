//! `preprocess` on real microscope fields of four magnifications, and on an OpenCell acquisition.

use std::fs;
use std::path::Path;

use cytoself_io::CropTable;
use cytoself_tests::{data, run};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Nuclei and crops of a field, from `fields.csv`.
fn counts(store: &Path, fov: &str) -> [f64; 2] {
    let table = CropTable::from_csv(&store.join("fields.csv")).unwrap();
    let fovs = table.text("fov").unwrap();
    let row = (0..table.len()).find(|&r| fovs.get(r) == fov).unwrap();
    ["nuclei", "crops"].map(|c| table.number(c).unwrap()[row])
}

#[test]
fn fields_of_four_microscopes() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let fields = data.join("fields");
    let hpa = |c: &str| text(&fields.join(format!("hpa_57_F11_1/57_F11_1_{c}.png")));
    let misc = |n: &str| text(&fields.join(format!("multichannel_misc/xyc_16bit__{n}.tif")));
    let manifest = dir.path().join("manifest.csv");
    // The pixel sizes are those at which the nuclei are about 13 um across.
    let rows = [
        format!(
            "{};{};{},HPA,hpa,nuc;pro;microtubules,0.08",
            hpa("blue"),
            hpa("green"),
            hpa("red")
        ),
        format!("{},NUP,nup_nuclei,pro;nuc,0.08", misc("nup_nuclei")),
        format!("{},GOLGI,nuclei_golgi,nuc;pro,0.4", misc("nuclei_golgi")),
        format!(
            "{},MITO,hela-cells,lysosomes;pro;nuc,0.12",
            misc("hela-cells")
        ),
    ];
    let header = "path,protein,fov,channels,pixel_size_um";
    fs::write(&manifest, format!("{header}\n{}\n", rows.join("\n"))).unwrap();
    let (out, preview) = (dir.path().join("crops.zarr"), dir.path().join("preview"));
    let arguments = [
        "--manifest",
        &text(&manifest),
        "--out",
        &text(&out),
        "--crop-size",
        "64",
        "--pixel-size",
        "0.4",
        "--preview",
        &text(&preview),
    ];
    run("preprocess", arguments).expect(0, &["one field only"]);
    for (fov, nuclei, crops) in [
        ("hpa", 8.0..=12.0, 8.0..=12.0),
        ("nup_nuclei", 2.0..=2.0, 0.0..=0.0),
        ("nuclei_golgi", 5.0..=6.0, 3.0..=4.0),
        ("hela-cells", 4.0..=4.0, 4.0..=4.0),
    ] {
        let [n, c] = counts(&out, fov);
        assert!(
            nuclei.contains(&n) && crops.contains(&c),
            "{fov}: {n} nuclei, {c} crops"
        );
        assert!(preview.join(format!("field_{fov}.png")).is_file());
    }
    assert!(preview.join("crops.png").is_file());
    // The channels are the ones named: DNA is bright inside the outline, and the nuclear pores along it.
    assert_eq!(
        fs::read_to_string(out.join("failures.csv"))
            .unwrap()
            .lines()
            .count(),
        1
    );
    let store = cytoself_io::open_crops(&out).unwrap();
    let fovs = store.table().text("fov").unwrap();
    for row in 0..store.len() {
        let mut crop = vec![0.0; 3 * 64 * 64];
        store.read_into(&[row], &[0, 1, 2], &mut crop).unwrap();
        let (pixels, distance) = crop.split_at(2 * 64 * 64);
        let mean = |channel: usize, keep: &dyn Fn(f32) -> bool| {
            let picked: Vec<f32> = (0..64 * 64)
                .filter(|&i| keep(distance[i]))
                .map(|i| pixels[channel * 64 * 64 + i])
                .collect();
            picked.iter().sum::<f32>() / picked.len().max(1) as f32
        };
        let (inside, outside) = (mean(1, &|d| d > 0.02), mean(1, &|d| d < -0.03));
        assert!(
            inside > 3.0 * outside,
            "{}: {inside} {outside}",
            fovs.get(row)
        );
        // Mitochondria lie around the nucleus.
        if fovs.get(row) == "hela-cells" {
            let ring = |d: f32| (-0.10..-0.01).contains(&d);
            let (inside, outside) = (mean(0, &|d| d > 0.02), mean(0, &ring));
            assert!(inside < outside, "{}: {inside} {outside}", fovs.get(row));
        }
    }
}

#[test]
fn an_acquisition_of_opencell() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let manifest = dir.path().join("manifest.csv");
    let path = data.join("opencell/mock_ometiff/A1_1_ATL2__mock.ome.tif");
    let content = format!(
        "path,protein,fov,channels\n{},ATL2,A1,nuc;pro\n",
        text(&path)
    );
    fs::write(&manifest, content).unwrap();
    let out = dir.path().join("crops.zarr");
    let preview = dir.path().join("preview");
    // The field was reduced to a tenth for its repository: nuclei have 7 px, too few for an estimate of their size.
    let arguments = [
        "--manifest",
        &text(&manifest),
        "--out",
        &text(&out),
        "--crop-size",
        "16",
        "--downsample",
        "1",
        "--diameter",
        "7",
        "--preview",
        &text(&preview),
    ];
    run("preprocess", arguments).expect(0, &[]);
    let [nuclei, crops] = counts(&out, "A1");
    assert!(
        (45.0..=70.0).contains(&nuclei) && crops > 40.0,
        "{nuclei} nuclei, {crops} crops"
    );
}
