//! `segment`: see `docs/` and `--help`.
fn main() {}
