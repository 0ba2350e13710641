//! `score`: see `docs/` and `--help`.
fn main() {}
