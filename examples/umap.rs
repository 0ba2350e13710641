//! `umap`: see `docs/` and `--help`.
fn main() {}
