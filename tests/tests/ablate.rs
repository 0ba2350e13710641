//! The ablation through the binary: a table at the end, and nothing done twice after an interruption.

use std::path::Path;

use cytoself_tests::fixture::crops;
use cytoself_tests::{run, signal, start, wait_until};

fn flags(data: &Path, out: &Path, folder: &Path, more: &[&str]) -> Vec<String> {
    let text = |p: &Path| p.display().to_string();
    let mut flags: Vec<String> = ["--data", &text(data), "--out", &text(out)]
        .map(String::from)
        .to_vec();
    flags.extend(["--groups", &text(&folder.join("groups.csv"))].map(String::from));
    flags.extend(["--complexes", &text(&folder.join("complexes.csv"))].map(String::from));
    flags.extend(
        "--preset torch-micro --batch-size 8 --epochs 1 --trainings 1 --umaps 2 --inpainting-width 0.05"
            .split(' ')
            .map(String::from),
    );
    flags.extend(more.iter().map(ToString::to_string));
    flags
}

#[test]
fn an_interrupted_ablation_goes_on_to_the_same_scores() {
    let dir = tempfile::tempdir().unwrap();
    let data = crops(dir.path(), 24, 4);
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "groups.csv",
        "protein,group\nP0,ring\nP1,spots\nP2,ring\nP3,spots\n",
    );
    write("complexes.csv", "protein,group\nP0,a\nP2,a\nP1,b\nP3,b\n");
    // The baseline's training ends with the clock, so only the variants repeat.
    let variants = ["--variants", "full,no_identification,no_quantization"];
    let whole = dir.path().join("whole");
    let done = run("ablate", flags(&data, &whole, dir.path(), &variants));
    done.expect(0, &["no_quantization, training 1 of 1"]);
    assert!(done.stdout.contains("clustering_robust"), "{}", done.stdout);
    let table = std::fs::read_to_string(whole.join("table.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + 3 * 2 * 3, "{table}");

    let part = dir.path().join("part");
    let mut child = start("ablate", flags(&data, &part, dir.path(), &variants));
    let embedded = part.join("full/training_1/embeddings.zarr");
    assert!(wait_until(&mut child, || embedded.exists()));
    signal(child, "INT").expect(130, &["--resume"]);
    let modified = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
    let before = modified(&embedded);
    let mut again = variants.to_vec();
    again.push("--resume");
    run("ablate", flags(&data, &part, dir.path(), &again)).expect(0, &[]);
    assert_eq!(modified(&embedded), before);
    let scores = |out: &Path| std::fs::read_to_string(out.join("scores.csv")).unwrap();
    assert_eq!(scores(&part), scores(&whole));

    // More variants may come later; other settings may not.
    let more = ["--resume", "--variants", "full,inpainting"];
    run("ablate", flags(&data, &whole, dir.path(), &more)).expect(0, &["steps in"]);
    for file in [
        "figure6.png",
        "figure6.svg",
        "aligned_organelles.png",
        "aligned_complexes.svg",
    ] {
        assert!(whole.join(file).is_file(), "{file}");
    }
    assert!(scores(&whole).contains("inpainting_conv4"));
    let other = ["--resume", "--seed", "7"];
    run("ablate", flags(&data, &whole, dir.path(), &other)).expect(2, &["seed", "42"]);
    run("ablate", flags(&data, &whole, dir.path(), &[])).expect(2, &["exists already"]);
}
