//! Our side of `ops.py`: the operations of the network on a device, against the processor and against the clock.
//!
//! `ops_gpu check DEVICE [small [NAME]]` compares results and gradients of every operation, of the quantiser, of the optimizer and of whole
//! networks, batches on their way, a training and an embedding with the processor's, in each precision, and a step of several ranks with
//! that of one; a line of JSON for each, exit code 1 if one is off by more than its tolerance. What a GPU replays as a CUDA graph is
//! compared with the same without. With NAME only what has it in its name.
//! `ops_gpu ranks DEVICE` does the steps of several ranks alone.
//! DEVICE `cpu` compares the processor with itself, which tries the program out.
//!
//! `ops_gpu time DEVICE PRECISION` reads lines `batch seconds kind numbers...`, the kinds as in `../peers/ops.py`, and answers each with
//! a line `[forward, step]`: median seconds of the operation, and of the operation, the mean square of its result and all gradients.

#[path = "ops/batches.rs"]
mod batches;
#[path = "ops/cases.rs"]
mod cases;
#[path = "ops/clock.rs"]
mod clock;
#[path = "ops/compare.rs"]
mod compare;
#[path = "ops/ranks.rs"]
mod ranks;

use std::error::Error;
use std::process::ExitCode;

use cytoself_model::open_device;
use cytoself_model::ops::Precision;

type Failure = Box<dyn Error>;

/// Results by name.
type Found = Vec<(String, candle_core::Tensor)>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["check", device] => check(device, false, ""),
        ["check", device, "small"] => check(device, true, ""),
        ["check", device, "small", only] => check(device, true, only),
        ["ranks", device] => compare::ranks(device),
        ["time", device, precision] => {
            clock::answer(&open_device(device, precision.parse()?, None)?)?;
            Ok(true)
        }
        _ => Err(
            "ops_gpu check DEVICE [small [NAME]] | ops_gpu ranks DEVICE | ops_gpu time DEVICE PRECISION"
                .into(),
        ),
    }
}

fn check(device: &str, small: bool, only: &str) -> Result<bool, Failure> {
    let precisions: &[Precision] = match device {
        "cpu" => &[Precision::F32],
        _ => &Precision::ALL,
    };
    let mut fine = true;
    for &precision in precisions {
        let there = open_device(device, precision, None)?;
        fine &= compare::all(&there, precision, small, only)?;
    }
    if "training step of several ranks".contains(only) {
        fine &= compare::ranks(device)?;
    }
    Ok(fine)
}
