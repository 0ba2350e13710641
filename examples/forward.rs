//! `forward`: see `docs/` and `--help`.
fn main() {}
