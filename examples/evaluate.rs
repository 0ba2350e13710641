//! `evaluate`: see `docs/` and `--help`.
fn main() {}
