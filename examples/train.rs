//! `train`: see `docs/` and `--help`.
fn main() {}
