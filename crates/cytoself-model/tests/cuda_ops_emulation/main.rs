//! The CUDA kernels of the operations, compiled as C++ and run thread by thread on the processor, against the functions on slices.
//!
//! Every launch is the one that `src/kernels/README.md` describes. It checks indices, barriers, guards around all memory, that nothing
//! is left unwritten and that what is const stays; speed and the hardware's own arithmetic it cannot. Skipped where there is no C++
//! compiler.
//!
//! Where `CXX` names a script that adds `-fsanitize=address,undefined` (and `ASAN_OPTIONS=detect_stack_use_after_return=0`), accesses
//! past shared memory are found too, in some minutes.
#![cfg(unix)]

mod data;
mod device;

mod batch_norm;
mod depthwise;
mod elementwise;
mod layout;
mod loss;
mod optimizer;
mod pool;
mod random;
mod resize;
mod squeeze_excite;
