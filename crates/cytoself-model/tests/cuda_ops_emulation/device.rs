//! A GPU that is a list of launches: written to a file, carried out by `tests/emulation/harness.cpp`, read back.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory of the device.
#[derive(Clone, Copy)]
pub struct Buffer(usize);

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub enum Argument {
    U32(u32),
    I32(i32),
    U64(u64),
    F32(f32),
    F64(f64),
    Memory(Buffer),
    Null,
}

macro_rules! argument {
    ($($variant:ident($type:ty)),*) => {
        $(impl From<$type> for Argument {
            fn from(value: $type) -> Self {
                Self::$variant(value)
            }
        })*
    };
}
argument!(
    U32(u32),
    I32(i32),
    U64(u64),
    F32(f32),
    F64(f64),
    Memory(Buffer)
);

/// A size; every count that the kernels take as `u32` comes from one.
impl From<usize> for Argument {
    fn from(value: usize) -> Self {
        Self::U32(u32::try_from(value).unwrap())
    }
}

impl From<Option<Buffer>> for Argument {
    fn from(buffer: Option<Buffer>) -> Self {
        buffer.map_or(Self::Null, Self::Memory)
    }
}

/// The arguments of a launch.
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::device::Argument::from($value)),*] };
}
pub(crate) use args;

/// Numbers that memory holds.
pub trait Number: Copy {
    fn to_bytes(self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Self;
}
macro_rules! number {
    ($($type:ty),*) => {
        $(impl Number for $type {
            fn to_bytes(self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }
            fn from_bytes(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().unwrap())
            }
        })*
    };
}
number!(u16, u32, u64, f32, f64);

/// A word of a table on the device.
#[derive(Clone, Copy)]
pub enum Word {
    Value(u64),
    Address(Buffer),
}

enum Content {
    Rubbish,
    Bytes(Vec<u8>),
    Words(Vec<Word>),
}

/// What is to be done.
pub struct Device {
    /// Bytes that f32 arrays lie off a multiple of 256.
    shift: usize,
    buffers: Vec<(usize, usize, Content)>,
    launches: Vec<u8>,
    name: &'static str,
}

/// Blocks of a loop over `items` values, the table's `E`.
pub fn each(items: usize) -> usize {
    items.div_ceil(1024).clamp(1, 16384)
}

/// Blocks of one thread per item, the table's `R`.
pub fn one(items: usize) -> usize {
    items.div_ceil(256)
}

impl Device {
    /// A device whose f32 arrays lie `shift` bytes off a multiple of 256.
    pub fn new(name: &'static str, shift: usize) -> Self {
        Self {
            shift,
            buffers: Vec::new(),
            launches: Vec::new(),
            name,
        }
    }

    fn hold<T: Number>(&mut self, count: usize, content: Content) -> Buffer {
        let shift = if size_of::<T>() > 4 { 0 } else { self.shift };
        self.buffers.push((count * size_of::<T>(), shift, content));
        Buffer(self.buffers.len() - 1)
    }

    /// Memory with `values`.
    pub fn upload<T: Number>(&mut self, values: &[T]) -> Buffer {
        let bytes = values.iter().flat_map(|v| v.to_bytes()).collect();
        self.hold::<T>(values.len(), Content::Bytes(bytes))
    }

    /// As [`Device::upload`], of what may be absent.
    pub fn upload_some<T: Number>(&mut self, values: Option<&[T]>) -> Option<Buffer> {
        values.map(|v| self.upload(v))
    }

    /// Memory with rubbish: for f32, NaN.
    pub fn reserve<T: Number>(&mut self, count: usize) -> Buffer {
        self.hold::<T>(count, Content::Rubbish)
    }

    /// A table of 64-bit words.
    pub fn table(&mut self, words: Vec<Word>) -> Buffer {
        self.hold::<u64>(words.len(), Content::Words(words))
    }

    fn word(&mut self, word: u64) {
        self.launches.extend(word.to_le_bytes());
    }

    /// Launches `kernel` on `blocks` blocks.
    pub fn launch(&mut self, kernel: &str, blocks: usize, arguments: &[Argument]) {
        self.launch_2d(kernel, [blocks, 1], arguments);
    }

    /// Launches `kernel` on a grid.
    pub fn launch_2d(&mut self, kernel: &str, grid: [usize; 2], arguments: &[Argument]) {
        self.word(kernel.len() as u64);
        self.launches.extend(kernel.bytes());
        for number in [grid[0], grid[1], arguments.len()] {
            self.word(number as u64);
        }
        for argument in arguments {
            // The kinds of tests/emulation/entries.h of cytoself-vq.
            let (kind, word) = match *argument {
                Argument::U32(v) => (0, u64::from(v)),
                Argument::I32(v) => (1, u64::from(v as u32)),
                Argument::U64(v) => (2, v),
                Argument::F32(v) => (3, u64::from(v.to_bits())),
                Argument::F64(v) => (4, v.to_bits()),
                Argument::Memory(buffer) => (6, buffer.0 as u64),
                Argument::Null => (6, u64::MAX),
            };
            self.word(kind);
            self.word(word);
        }
    }

    /// Carries everything out.
    pub fn run(self) -> Memory {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let program = harness().expect("the caller asked whether there is a compiler");
        let path = |end: &str| program.with_file_name(format!("{}-{number}.{end}", self.name));
        let (input, output) = (path("in"), path("out"));
        std::fs::write(&input, self.list()).unwrap();
        let result = Command::new(program)
            .args([&input, &output])
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&result.stderr);
        assert!(
            result.status.success(),
            "{}: {} {message}",
            self.name,
            result.status
        );
        let bytes = std::fs::read(&output).unwrap();
        for file in [input, output] {
            std::fs::remove_file(file).unwrap();
        }
        let mut starts = vec![0];
        for (length, ..) in &self.buffers {
            starts.push(starts[starts.len() - 1] + length);
        }
        Memory { bytes, starts }
    }

    fn list(&self) -> Vec<u8> {
        let mut list = Vec::new();
        let word = |list: &mut Vec<u8>, w: u64| list.extend(w.to_le_bytes());
        word(&mut list, self.buffers.len() as u64);
        for (bytes, shift, content) in &self.buffers {
            word(&mut list, *bytes as u64);
            word(&mut list, *shift as u64);
            match content {
                Content::Rubbish => word(&mut list, 0),
                Content::Bytes(bytes) => {
                    word(&mut list, 1);
                    list.extend(bytes);
                }
                Content::Words(words) => {
                    word(&mut list, 2);
                    for value in words {
                        let (is_buffer, value) = match *value {
                            Word::Value(v) => (0, v),
                            Word::Address(buffer) => (1, buffer.0 as u64),
                        };
                        word(&mut list, is_buffer);
                        word(&mut list, value);
                    }
                }
            }
        }
        list.extend(&self.launches);
        list
    }
}

/// What the device's memory holds at the end.
pub struct Memory {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Memory {
    /// The content of a buffer.
    pub fn read<T: Number>(&self, buffer: Buffer) -> Vec<T> {
        let bytes = &self.bytes[self.starts[buffer.0]..self.starts[buffer.0 + 1]];
        bytes
            .chunks_exact(size_of::<T>())
            .map(T::from_bytes)
            .collect()
    }
}

/// The compiled harness; `None` where there is no C++ compiler.
pub fn harness() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(compile).as_deref()
}

fn compile() -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    if Command::new(&compiler).arg("--version").output().is_err() {
        eprintln!("skipped: no C++ compiler ({compiler}); set CXX");
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda_ops_emulation");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("harness");
    let result = Command::new(compiler)
        .args("-std=c++17 -O1 -U_FORTIFY_SOURCE -ffp-contract=off -w -x c++".split(' '))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulation/harness.cpp"))
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{messages}");
    Some(program)
}
