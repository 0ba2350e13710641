#!/usr/bin/env bash
# `ops_gpu check` on an emulated GPU: where there is no CUDA at all, everything that the host side does for a GPU is done and compared
# with the processor, at small sizes. candle's own kernels are left out (an nvcc that writes empty files stands in for the compiler), the
# driver, cuBLAS, cuDNN and NCCL are those of crates/cytoself-model/tests/emulation/libraries.cpp. Needs a C++ compiler; the build takes long,
# as candle and all it needs is compiled once more.
#
#   benches/gpu/emulate.sh [EXAMPLE ARGUMENTS...]      another example than `ops_gpu check cuda small`
set -euo pipefail
cd "$(dirname "$0")/../.."
home="$PWD/target/emulated"
mkdir -p "$home/bin" "$home/lib64"
"${CXX:-c++}" -std=c++17 -O1 -U_FORTIFY_SOURCE -ffp-contract=off -w -shared -fPIC -fvisibility=hidden -Wl,-Bsymbolic \
    crates/cytoself-model/tests/emulation/libraries.cpp -o "$home/lib64/libcuda.so"
for name in cublas cublasLt curand cudart nvrtc cudnn nccl; do
    ln -sf libcuda.so "$home/lib64/lib$name.so"
done
cat > "$home/bin/nvcc" << 'END'
#!/usr/bin/env bash
# Writes what a compiler would write, empty.
folder=. output= sources=()
while [ $# -gt 0 ]; do
    case "$1" in
        --version) printf 'nvcc\n-\n-\nCuda compilation tools, release 13.0, V13.0.88\n'; exit ;;
        --list-gpu-code) printf 'sm_80\nsm_90\n'; exit ;;
        -o | --output-file) output="$2"; shift ;;
        --output-directory) folder="$2"; shift ;;
        *.cu) sources+=("$1") ;;
    esac
    shift
done
case "$output" in
    *.a) printf '!<arch>\n' > "$output" ;;
    ?*) : > "$output" ;;
    *) for source in "${sources[@]}"; do name="${source##*/}"; : > "$folder/${name%.cu}.ptx"; done ;;
esac
END
chmod +x "$home/bin/nvcc"

export CUDA_HOME="$home" CUDA_PATH="$home" CUDA_ROOT="$home" CUDA_TOOLKIT_ROOT_DIR="$home" CUDA_COMPUTE_CAP=80 PATH="$home/bin:$PATH"
export LD_LIBRARY_PATH="$home/lib64" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/emulation"
# candle names functions that nobody calls here.
export RUSTFLAGS="-C link-arg=-Wl,--unresolved-symbols=ignore-all"
[ $# -gt 0 ] || set -- ops_gpu check cuda small
example="$1"
shift
cargo build --release --config profile.release.opt-level=0 --workspace \
    --features cytoself-examples/candle-cuda,cytoself-benches/nccl --example "$example"
"$CARGO_TARGET_DIR/release/examples/$example" "$@"
