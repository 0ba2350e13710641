//! A reader for pickled label arrays that runs nothing.
//!
//! Python's pickle is a program for a stack machine that may call any function. This reader executes only the part that NumPy
//! emits for an object array of texts and numbers, keeps every value in one flat arena (so that nesting cannot exhaust the stack),
//! and refuses any other function by name.
//!
//! # References
//! - Python documentation, `pickletools`: opcodes of protocols 0 to 5

mod machine;
mod numpy;
mod value;

pub(crate) use numpy::read_texts;
