//! `atlas`: see `docs/` and `--help`.
fn main() {}
