//! `convert`: see `docs/` and `--help`.
fn main() {}
