//! `quickstart`: see `docs/` and `--help`.
fn main() {}
