//! Dense layers by cuBLAS.
//!
//! cuBLAS counts columns first: a row-major `[rows, columns]` is to it `[columns, rows]`, so every product below is computed transposed.

use std::ffi::c_void;

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, Error, Layout, Result, Shape, Tensor};
use cudarc::cublas::result::gemm_ex;
use cudarc::cublas::sys::{cublasComputeType_t, cublasGemmAlgo_t, cublasOperation_t, cudaDataType};
use cudarc::driver::CudaSlice;

use super::elementwise::sum_chunks;
use super::{Address, Gpu, every, u32_of};
use crate::ops::{LinearShape, Precision};

use cublasOperation_t::{CUBLAS_OP_N as N, CUBLAS_OP_T as T};

/// A matrix of a product: where it begins, its values, from one column to the next, turned or not.
#[derive(Clone, Copy)]
struct Matrix {
    at: Address,
    values: usize,
    pitch: usize,
    operation: cublasOperation_t,
}

/// `c = a b`, `[m, n]` of products of length `k`, columns first.
fn product(gpu: &Gpu, [m, n, k]: [usize; 3], a: Matrix, b: Matrix, c: Address) -> Result<()> {
    let narrow = gpu.precision() == Precision::Bf16;
    // The copies live until the product has been enqueued.
    let copies = if narrow {
        Some([to_bf16(gpu, a)?, to_bf16(gpu, b)?])
    } else {
        None
    };
    let (a_at, b_at) = match &copies {
        Some([a, b]) => (gpu.at(a), gpu.at(b)),
        None => (a.at, b.at),
    };
    let kind = if narrow {
        cudaDataType::CUDA_R_16BF
    } else {
        cudaDataType::CUDA_R_32F
    };
    let compute = match gpu.precision() {
        Precision::Tf32 => cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
        Precision::F32 | Precision::Bf16 => cublasComputeType_t::CUBLAS_COMPUTE_32F,
    };
    let (one, zero) = (1.0f32, 0.0f32);
    let int = |count: usize| u32_of(count).map(|c| c as i32);
    let blas = gpu.device().cublas_handle();
    // SAFETY: the matrices have the sizes that the product speaks of; alpha and beta are f32 on the host, as the compute type asks.
    let started = unsafe {
        gemm_ex(
            *blas.handle(),
            a.operation,
            b.operation,
            int(m)?,
            int(n)?,
            int(k)?,
            (&raw const one).cast(),
            a_at.0 as *const c_void,
            kind,
            int(a.pitch)?,
            b_at.0 as *const c_void,
            kind,
            int(b.pitch)?,
            (&raw const zero).cast(),
            c.0 as *mut c_void,
            cudaDataType::CUDA_R_32F,
            int(m)?,
            compute,
            cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    };
    started.map_err(|error| Error::Msg(format!("cuBLAS, {m} x {n} x {k}: {error}")))
}

fn to_bf16(gpu: &Gpu, matrix: Matrix) -> Result<CudaSlice<u16>> {
    let narrow = gpu.buffer(matrix.values)?;
    launch!(
        gpu,
        "to_bf16",
        every(matrix.values),
        [matrix.at, matrix.values as u64, gpu.at(&narrow)]
    );
    Ok(narrow)
}

fn matrix(at: Address, values: usize, pitch: usize, operation: cublasOperation_t) -> Matrix {
    Matrix {
        at,
        values,
        pitch,
        operation,
    }
}

pub(crate) fn forward(
    [rows, inputs, outputs]: LinearShape,
    x: (&CudaStorage, &Layout),
    w: (&CudaStorage, &Layout),
    b: Option<(&CudaStorage, &Layout)>,
) -> Result<(CudaStorage, Shape)> {
    let gpu = &Gpu::of(x.0.device())?;
    let y = gpu.zeros(rows * outputs)?;
    let at = gpu.at(&y);
    if rows * outputs * inputs > 0 {
        let w = matrix(gpu.argument(w.0, w.1)?, outputs * inputs, inputs, T);
        let x = matrix(gpu.argument(x.0, x.1)?, rows * inputs, inputs, N);
        product(gpu, [outputs, rows, inputs], w, x, at)?;
    }
    if let Some((b, bl)) = b
        && rows * outputs > 0
    {
        launch!(
            gpu,
            "bias_add",
            every(rows * outputs),
            [
                at,
                gpu.argument(b, bl)?,
                u32_of(outputs)?,
                1u32,
                u32_of(rows * outputs)?,
                at
            ]
        );
    }
    gpu.stored(y, (rows, outputs))
}

pub(crate) fn input_gradient(
    [rows, inputs, outputs]: LinearShape,
    x: &Tensor,
    w: &Tensor,
    dy: &Tensor,
) -> Result<Tensor> {
    let gpu = &Gpu::holding(x)?;
    let (w, dy) = (w.contiguous()?, dy.contiguous()?);
    let dx = gpu.zeros(rows * inputs)?;
    if rows * inputs * outputs > 0 {
        let w = matrix(gpu.values(&w)?, outputs * inputs, inputs, N);
        let dy = matrix(gpu.values(&dy)?, rows * outputs, outputs, N);
        product(gpu, [inputs, rows, outputs], w, dy, gpu.at(&dx))?;
    }
    Ok(gpu.tensor(dx, x.shape()))
}

pub(crate) fn weight_gradient(
    [rows, inputs, outputs]: LinearShape,
    x: &Tensor,
    w: &Tensor,
    dy: &Tensor,
) -> Result<Tensor> {
    let gpu = &Gpu::holding(x)?;
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let dw = gpu.zeros(outputs * inputs)?;
    if rows * inputs * outputs > 0 {
        let x = matrix(gpu.values(&x)?, rows * inputs, inputs, N);
        let dy = matrix(gpu.values(&dy)?, rows * outputs, outputs, T);
        product(gpu, [inputs, outputs, rows], x, dy, gpu.at(&dw))?;
    }
    Ok(gpu.tensor(dw, w.shape()))
}

/// The gradient of a bias: the sums of the columns of `dy`.
pub(crate) fn bias_gradient(dy: &Tensor) -> Result<Tensor> {
    let gpu = &Gpu::holding(dy)?;
    let (rows, columns) = dy.dims2()?;
    if rows * columns == 0 {
        return Ok(gpu.tensor(gpu.zeros(columns)?, columns));
    }
    let dy = dy.contiguous()?;
    let chunks = rows.div_ceil(64).clamp(1, 64);
    let (partial, sums) = (gpu.buffer::<f64>(columns * chunks)?, gpu.buffer(columns)?);
    launch!(
        gpu,
        "column_sums",
        [columns.div_ceil(256), chunks],
        [
            gpu.values(&dy)?,
            u32_of(rows)?,
            u32_of(columns)?,
            u32_of(chunks)?,
            gpu.at(&partial)
        ]
    );
    sum_chunks(gpu, gpu.at(&partial), [columns, chunks, 1], gpu.at(&sums))?;
    Ok(gpu.tensor(sums, columns))
}
