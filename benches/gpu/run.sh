#!/usr/bin/env bash
# Everything that needs an NVIDIA GPU: correctness of the quantiser and of every operation, times against the card's ceilings, PyTorch and
# torch.compile, whole training steps and embedding, the sanitizer and ncu where they are installed. Writes target/gpu/. Needs the driver,
# Rust and Python; a CUDA toolkit is made from PyPI's wheels where there is none.
#
#   benches/gpu/run.sh [PYTHON]      PYTHON: one that has torch with CUDA and numpy; otherwise a virtual environment is made
#   DRY=1 benches/gpu/run.sh ...     tries the scripts without a GPU: small shapes, on the processor; PROFILE=dev compiles faster
#   BATCHES="32 128" PRESETS="paper torch-split9" PRECISIONS="f32 tf32 bf16" choose what is timed
set -euo pipefail
cd "$(dirname "$0")/../.."
out=target/gpu
mkdir -p "$out"
dry="${DRY:-}"
read -ra batches <<< "${BATCHES:-32 128 256 512}"
read -ra presets <<< "${PRESETS:-paper torch-split9}"
read -ra precisions <<< "${PRECISIONS:-f32 tf32 bf16}"

if [ -z "$dry" ]; then
    if ! nvidia-smi -L > "$out/gpu.txt" 2>&1; then
        echo "no NVIDIA GPU: nvidia-smi says: $(head -1 "$out/gpu.txt")" >&2
        exit 1
    fi
    nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit --format=csv >> "$out/gpu.txt"
    cat "$out/gpu.txt"
fi

python="${1:-target/venv-gpu/bin/python}"
if [ ! -x "$(command -v "$python")" ]; then
    python3 -m venv target/venv-gpu
    "$python" -m pip install --quiet numpy torch
fi

profile="${PROFILE:-release}"
binaries="target/${profile/#dev/debug}/examples"
if [ -n "$dry" ]; then
    cargo build --profile "$profile" --workspace --example ops_gpu --example throughput
    "$binaries/ops_gpu" check cpu small | tee "$out/ops-check.jsonl"
    "$python" benches/gpu/ops.py --dry --program "$binaries/ops_gpu" --output "$out/ops.json" | tee "$out/ops.md"
    "$python" benches/gpu/step.py --dry --program "$binaries/throughput" --output "$out/step.json" | tee "$out/step.md"
    exit 0
fi

if [ -z "${CUDA_HOME:-}" ] && [ ! -x "$(command -v nvcc)" ]; then
    [ -f target/cuda/env ] || benches/gpu/cuda-toolkit.sh target/cuda
    # shellcheck disable=SC1091
    source target/cuda/env
fi
# The libraries of torch and ours must not be mixed: torch finds its own by itself.
libraries="${LD_LIBRARY_PATH:-}"

echo "== build"
cargo build --release --workspace --features cytoself-examples/candle-cuda,cytoself-benches/candle-cuda \
    --example ops_gpu --example throughput --example vq_gpu --example train --example embed

echo "== correctness"
cargo test --release --workspace --features cytoself-examples/candle-cuda --test cuda_host -- --nocapture a_gpu_gives 2>&1 | tee "$out/correctness.txt"
if grep -q skipped "$out/correctness.txt"; then
    echo "the tests did not see the GPU" >&2
    exit 1
fi
wrong=0
"$binaries/ops_gpu" check cuda | tee "$out/ops-check.jsonl" || wrong=1

if command -v compute-sanitizer > /dev/null; then
    echo "== sanitizer"
    for tool in memcheck racecheck; do
        compute-sanitizer --tool "$tool" --error-exitcode 9 "$binaries/ops_gpu" check cuda small > "$out/$tool.txt" 2>&1 \
            || { echo "$tool: $(grep -m 1 -E '=========.*(Invalid|Race|ERROR)' "$out/$tool.txt")"; wrong=1; }
        tail -1 "$out/$tool.txt"
    done
else
    echo "compute-sanitizer is not installed: memory and races are not checked"
fi

echo "== times"
run_python() { LD_LIBRARY_PATH="" "$python" "$@"; }
# ops_gpu, vq_gpu and throughput need the libraries that torch must not see.
for program in ops_gpu vq_gpu throughput; do
    printf '#!/bin/sh\nexport LD_LIBRARY_PATH="%s"\nexec "%s" "$@"\n' "$libraries" "$PWD/$binaries/$program" > "$out/$program"
    chmod +x "$out/$program"
done
run_python benches/gpu/vq.py --program "$out/vq_gpu" | tee "$out/vq.md"
run_python benches/gpu/ops.py --program "$out/ops_gpu" --batch "${batches[0]}" --precision "${precisions[@]}" --output "$out/ops.json" | tee "$out/ops.md"
run_python benches/gpu/step.py --program "$out/throughput" --preset "${presets[@]}" --batch "${batches[@]}" --precision "${precisions[@]}" \
    --output "$out/step.json" | tee "$out/step.md"

if command -v ncu > /dev/null; then
    echo "== ncu"
    run_python benches/gpu/vq.py --program "$out/vq_gpu" --write "$out"
    for precision in f32 tf32x3 tf32 bf16; do
        printf 'layer 3\ntrain 1\n' | ncu --set full --kernel-name 'regex:nearest_|merge_|code_sums|gradient' --launch-skip 1 --launch-count 4 \
            "$binaries/vq_gpu" "$out/z.f32" "$out/c.f32" 256 1 625 64 "$precision" > "$out/ncu-$precision.txt" 2>&1 \
            || echo "ncu failed (its counters may need root): $(tail -1 "$out/ncu-$precision.txt")"
    done
else
    echo "ncu is not installed: no profile"
fi
echo "results are in $out"
exit "$wrong"
