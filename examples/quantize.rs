//! `quantize`: see `docs/` and `--help`.
fn main() {}
