//! `simulate`: see `docs/` and `--help`.
fn main() {}
