//! The CUDA kernels of the operations compile for the GPUs that they are meant for, and the PTX that is checked in is current.
//!
//! After a change of the kernels, `CYTOSELF_UPDATE_PTX=1 cargo test --workspace --test nvrtc_ops` writes the new PTX.

#[path = "../../../cytoself-vq/tests/nvrtc/toolkit.rs"]
mod toolkit;

use std::path::Path;

/// The files of the module, in the order of src/kernels/README.md.
const SOURCE: &str = concat!(
    include_str!("../../src/kernels/common.cu"),
    include_str!("../../src/kernels/batch_norm.cu"),
    include_str!("../../src/kernels/depthwise.cu"),
    include_str!("../../src/kernels/depthwise_gradients.cu"),
    include_str!("../../src/kernels/resize.cu"),
    include_str!("../../src/kernels/elementwise.cu"),
    include_str!("../../src/kernels/random.cu"),
    include_str!("../../src/kernels/layout.cu"),
    include_str!("../../src/kernels/pool.cu"),
    include_str!("../../src/kernels/squeeze_excite.cu"),
    include_str!("../../src/kernels/loss.cu"),
    include_str!("../../src/kernels/optimizer.cu"),
);

/// The kernels that a PTX text has, by name.
fn entries(ptx: &str) -> Vec<&str> {
    let mut names: Vec<&str> = ptx
        .split(".visible .entry ")
        .skip(1)
        .filter_map(|text| text.split('(').next())
        .collect();
    names.sort_unstable();
    names
}

/// The names in backquotes in the first column of the README's tables; `_x` stands for the first name of its cell with another end.
fn documented(readme: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in readme.lines().filter(|line| line.starts_with("| `")) {
        let cell = line.split('|').nth(1).unwrap_or_default();
        let mut first = "";
        for name in cell.split('`').skip(1).step_by(2) {
            match name.strip_prefix('_') {
                Some(end) => {
                    let stem = first.rsplit_once('_').map_or(first, |(stem, _)| stem);
                    names.push(format!("{stem}_{end}"));
                }
                None => {
                    first = name;
                    names.push(name.to_string());
                }
            }
        }
    }
    names.sort_unstable();
    names
}

#[test]
fn kernels_compile_and_the_checked_in_ptx_is_current() {
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ops.cu");
    std::fs::write(&source, SOURCE).unwrap();
    let Some(compiled) = toolkit::compile(&source) else {
        return;
    };
    assert_eq!(entries(&compiled[0]), entries(&compiled[1]));
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernels");
    toolkit::check_current(&kernels.join("ops.ptx"), &compiled[0], "nvrtc_ops");
}

#[test]
fn the_readme_has_every_kernel() {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernels");
    let read = |file: &str| std::fs::read_to_string(kernels.join(file)).unwrap();
    let ptx = read("ops.ptx");
    assert_eq!(documented(&read("README.md")), entries(&ptx));
    assert!(ptx.contains(".target sm_80"));
}
