//! `align`: see `docs/` and `--help`.
fn main() {}
