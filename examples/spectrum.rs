//! `spectrum`: see `docs/` and `--help`.
fn main() {}
