//! cytoself's layouts as they are found on disk.

use std::path::{Path, PathBuf};

use cytoself_io::{CropSource, IoError, SplitParams, npy, open_crops, split_by_field};
use ndarray::{Array2, Array3, Array4};

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("CYTOSELF_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: CYTOSELF_DATA is not set");
    }
    folder
}

fn crop(source: &dyn CropSource, row: usize, channel: usize) -> Vec<f32> {
    let [h, w] = source.crop_shape();
    let mut out = vec![0.0; h * w];
    source.read_into(&[row], &[channel], &mut out).unwrap();
    out
}

#[test]
fn the_yeast_set_opens_with_labels_and_pixels() {
    let Some(folder) = data().map(|d| d.join("yeast_gfp")) else {
        return;
    };
    let crops = open_crops(&folder).unwrap();
    assert_eq!(crops.len(), 1642);
    assert_eq!(crops.channels(), ["pro", "cell"]);
    assert_eq!(crops.crop_shape(), [64, 64]);
    let table = crops.table();
    let protein = table.text("protein").unwrap();
    let counts: Vec<usize> = (0..5)
        .map(|k| protein.codes().iter().filter(|&&c| c == k).count())
        .collect();
    assert_eq!(counts, [366, 416, 203, 308, 349]);
    assert_eq!(table.text("crop").unwrap().get(366), "AAC3:0");
    assert_eq!(table.text("localization").unwrap().get(0), "mitochondrion");
    assert_eq!(table.text("fov").unwrap().category_count(), 20);

    let pro = npy::read_f32(&folder.join("AAC3_pro.npy")).unwrap();
    let cell = npy::read_f32(&folder.join("AAC3_cell.npy")).unwrap();
    let mut out = vec![0.0; 2 * 2 * 64 * 64];
    crops.read_into(&[366 + 5, 366], &[1, 0], &mut out).unwrap();
    assert_eq!(out[..4096], cell.as_slice().unwrap()[5 * 4096..6 * 4096]);
    assert_eq!(out[3 * 4096..], pro.as_slice().unwrap()[..4096]);

    let (_, report) = split_by_field(table, &SplitParams::default()).unwrap();
    assert!(
        report.proteins.iter().all(|p| p.fields == [2, 1, 1]),
        "{report}"
    );
}

#[test]
fn pickled_labels_are_read_without_python() {
    let Some(folder) = data().map(|d| d.join("yeast_gfp")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for file in ["AAC1_pro.npy", "AAC1_label.npy"] {
        std::fs::copy(folder.join(file), dir.path().join(file)).unwrap();
    }
    let crops = open_crops(dir.path()).unwrap();
    assert_eq!(crops.len(), 366);
    let table = crops.table();
    assert_eq!(table.text("ensg").unwrap().get(365), "YMR056C");
    assert_eq!(table.text("protein").unwrap().get(0), "AAC1");
    assert_eq!(
        table.text("localization").unwrap().get(100),
        "mitochondrion"
    );
    assert!(table.text("fov").is_none());
}

fn write_protein(folder: &Path, name: &str, crops: usize) {
    let pro = Array3::from_shape_fn((crops, 4, 6), |(n, y, x)| (n * 100 + y * 10 + x) as f32);
    npy::write(&folder.join(format!("{name}_pro.npy")), &pro).unwrap();
    npy::write(
        &folder.join(format!("{name}_nucdist.npy")),
        &pro.mapv(|v| -v),
    )
    .unwrap();
}

#[test]
fn the_nuclear_distance_is_scaled_and_names_may_hold_underscores() {
    let dir = tempfile::tempdir().unwrap();
    write_protein(dir.path(), "my_protein", 3);
    write_protein(dir.path(), "B", 2);
    let crops = open_crops(dir.path()).unwrap();
    assert_eq!(crops.channels(), ["pro", "nucdist"]);
    assert_eq!(
        crops
            .table()
            .text("protein")
            .unwrap()
            .iter()
            .collect::<Vec<_>>(),
        ["B", "B", "my_protein", "my_protein", "my_protein"]
    );
    assert_eq!(crop(&*crops, 4, 0)[6 + 2], 212.0);
    assert_eq!(crop(&*crops, 4, 1)[6 + 2], -2.12);
    let error = crops.read_into(&[5], &[0], &mut [0.0; 24]).unwrap_err();
    assert!(matches!(error, IoError::Argument { .. }));
    assert!(crops.read_into(&[4], &[2], &mut [0.0; 24]).is_err());
    assert!(crops.read_into(&[4], &[1], &mut [0.0; 23]).is_err());
}

#[test]
fn a_missing_channel_and_a_short_label_file_are_named() {
    let dir = tempfile::tempdir().unwrap();
    write_protein(dir.path(), "A", 3);
    write_protein(dir.path(), "B", 2);
    std::fs::write(
        dir.path().join("labels.csv"),
        "ensg,name\nE1,A\nE1,A\nE1,A\nE2,B\n",
    )
    .unwrap();
    let open = || open_crops(dir.path()).err().map(|e| e.to_string()).unwrap();
    assert!(open().contains("rows of B: expected 2"), "{}", open());
    std::fs::remove_file(dir.path().join("B_nucdist.npy")).unwrap();
    assert!(open().contains("B_nucdist.npy is missing"), "{}", open());
}

#[test]
fn the_sidecar_may_be_in_any_order_with_an_index() {
    let dir = tempfile::tempdir().unwrap();
    write_protein(dir.path(), "A", 2);
    let text = "ensg,name,loc_grade1,loc_grade2,loc_grade3,protein_id,FOV_id,index\nE,A,er,,,a,f2,1\nE,A,golgi,er,,a,f1,0\n";
    std::fs::write(dir.path().join("labels.csv"), text).unwrap();
    let crops = open_crops(dir.path()).unwrap();
    assert_eq!(
        crops
            .table()
            .text("fov")
            .unwrap()
            .iter()
            .collect::<Vec<_>>(),
        ["f1", "f2"]
    );
    assert_eq!(
        crops
            .table()
            .text("localization")
            .unwrap()
            .iter()
            .collect::<Vec<_>>(),
        ["er", "er"]
    );
}

#[test]
fn the_published_layout_opens_with_and_without_a_header() {
    let dir = tempfile::tempdir().unwrap();
    for (number, header) in [("00", true), ("01", false)] {
        let images = Array4::from_shape_fn((3, 5, 5, 4), |(n, y, x, c)| {
            (n * 1000 + y * 100 + x * 10 + c) as f32
        });
        npy::write(&dir.path().join(format!("Image_data{number}.npy")), &images).unwrap();
        let mut text = String::new();
        if header {
            text.push_str("ensg,name,loc_grade1,loc_grade2,loc_grade3,protein_id,FOV_id\n");
        }
        (0..3).for_each(|i| text.push_str(&format!("ENSG0,P{i},a;b,,,id,{number}{i}\n")));
        std::fs::write(dir.path().join(format!("Label_data{number}.csv")), text).unwrap();
    }
    let crops = open_crops(dir.path()).unwrap();
    assert_eq!(crops.len(), 6);
    assert_eq!(crops.channels(), ["pro", "nuc", "nucdist", "nucmask"]);
    assert_eq!(crop(&*crops, 5, 1)[5 + 2], 2121.0);
    assert_eq!(crop(&*crops, 5, 2)[5 + 2], 21.22);
    assert_eq!(crops.table().text("fov").unwrap().get(4), "011");
    std::fs::write(dir.path().join("Label_data01.csv"), "ENSG0,P0,a;b,,,id,1\n").unwrap();
    assert!(
        open_crops(dir.path())
            .err()
            .unwrap()
            .to_string()
            .contains("expected 3, one per crop")
    );
}

#[test]
fn a_truncated_array_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("A_pro.npy");
    npy::write(&path, &Array2::<f32>::zeros((10, 10))).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = open_crops(dir.path()).err().unwrap().to_string();
    assert!(error.contains("truncated"), "{error}");
    std::fs::write(&path, &bytes).unwrap();
    let error = open_crops(dir.path()).err().unwrap().to_string();
    assert!(error.contains("axes (n, h, w)"), "{error}");
}
