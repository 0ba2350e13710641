//! The CUDA kernels compile for the GPUs that they are meant for, and the PTX that is checked in is current.
//!
//! After a change of the kernels, `CYTOSELF_UPDATE_PTX=1 cargo test --workspace --test nvrtc` writes the new PTX.

mod toolkit;

use std::path::Path;

#[test]
fn kernels_compile_and_the_checked_in_ptx_is_current() {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernels");
    let Some(compiled) = toolkit::compile(&kernels.join("split_quantize.cu")) else {
        return;
    };
    for (architecture, ptx) in toolkit::ARCHITECTURES.iter().zip(&compiled) {
        let entries = ptx.matches(".visible .entry").count();
        assert_eq!(entries, 10, "{architecture}: kernels");
    }
    toolkit::check_current(&kernels.join("split_quantize.ptx"), &compiled[0], "nvrtc");
}
