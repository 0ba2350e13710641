#!/usr/bin/env bash
# Everything about the quantiser that needs an NVIDIA GPU: correctness on every test shape, time against its floor, against PyTorch and
# torch.compile, and the figures of ncu where it is installed. Writes target/gpu/. Needs the driver, Rust and Python; no CUDA toolkit.
#
#   benches/gpu/run.sh [PYTHON]      PYTHON: one that has torch with CUDA and numpy; otherwise a virtual environment is made
set -euo pipefail
cd "$(dirname "$0")/../.."
out=target/gpu
mkdir -p "$out"

if ! nvidia-smi -L > "$out/gpu.txt" 2>&1; then
    echo "no NVIDIA GPU: nvidia-smi says: $(head -1 "$out/gpu.txt")" >&2
    exit 1
fi
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit --format=csv >> "$out/gpu.txt"
cat "$out/gpu.txt"

python="${1:-target/venv-gpu/bin/python}"
if [ ! -x "$(command -v "$python")" ]; then
    python3 -m venv target/venv-gpu
    "$python" -m pip install --quiet numpy torch
fi
# NVRTC comes with torch; the kernels are compiled by it for this GPU.
libraries="$("$python" -c 'import glob, os, sysconfig
print(":".join(sorted({os.path.dirname(p) for p in glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/**/libnvrtc.so*", recursive=True)})))')"
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

echo "== correctness"
cargo test --release -p cytoself-vq --features cuda --test cuda_host -- --nocapture a_gpu_gives 2>&1 | tee "$out/correctness.txt"
if grep -q skipped "$out/correctness.txt"; then
    echo "the tests did not see the GPU" >&2
    exit 1
fi

echo "== times"
cargo build --release -p cytoself-benches --features cuda --example vq_gpu
"$python" benches/gpu/vq.py --program target/release/examples/vq_gpu | tee "$out/vq.md"

if command -v ncu > /dev/null; then
    echo "== ncu"
    "$python" benches/gpu/vq.py --program target/release/examples/vq_gpu --write "$out"
    for precision in f32 tf32x3 tf32 bf16; do
        printf 'layer 3\ntrain 1\n' | ncu --set full --kernel-name 'regex:nearest_|merge_|code_sums|gradient' --launch-skip 1 --launch-count 4 \
            target/release/examples/vq_gpu "$out/z.f32" "$out/c.f32" 256 1 625 64 "$precision" > "$out/ncu-$precision.txt" 2>&1 \
            || echo "ncu failed (its counters may need root): $(tail -1 "$out/ncu-$precision.txt")"
    done
else
    echo "ncu is not installed: no profile"
fi
echo "results are in $out"
