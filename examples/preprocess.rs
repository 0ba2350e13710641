//! `preprocess`: see `docs/` and `--help`.
fn main() {}
