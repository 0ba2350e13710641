//! `biclust`: see `docs/` and `--help`.
fn main() {}
