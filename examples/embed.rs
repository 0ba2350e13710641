//! `embed`: see `docs/` and `--help`.
fn main() {}
