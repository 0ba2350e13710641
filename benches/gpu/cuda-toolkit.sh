#!/usr/bin/env bash
# A CUDA toolkit from PyPI's wheels, to build the feature `candle-cuda` on a machine without one (and without a GPU).
#
#   benches/gpu/cuda-toolkit.sh DIR       2.3 GB; DIR/env is then what a shell sources before cargo
#
# Needs python3 with pip, cc and cargo (for the names of the driver's functions). What DIR holds:
#   bin include nvvm lib64 lib     laid out as CUDA_HOME expects them
#   stubs/libcuda.so               a driver of empty functions to link with; it never goes into LD_LIBRARY_PATH, so that a program
#                                  finds the machine's own driver when it runs, or says that there is none
#   env                            CUDA_HOME, CUDA_PATH, CUDA_COMPUTE_CAP, PATH, LIBRARY_PATH, LD_LIBRARY_PATH
set -euo pipefail
home="${1:?usage: cuda-toolkit.sh DIR}"
root="$(cd "$(dirname "$0")/../.." && pwd)"
mkdir -p "$home"
home="$(cd "$home" && pwd)"

# One version of the whole: nvcc, its headers and NVRTC must agree.
wheels="nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-nvrtc==13.0.88
    nvidia-cuda-cccl==13.0.85 nvidia-curand==10.4.0.35 nvidia-cublas==13.1.0.3 nvidia-cudnn-cu13==9.13.0.50 nvidia-nccl-cu13==2.28.9"
if [ "$(cat "$home/wheels.txt" 2> /dev/null)" != "$wheels" ]; then
    # shellcheck disable=SC2086
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --upgrade --target "$home/wheels" $wheels
    echo "$wheels" > "$home/wheels.txt"
fi

toolkit="$home/wheels/nvidia/cu13"
[ -x "$toolkit/bin/nvcc" ] || { echo "$toolkit/bin/nvcc is missing: the wheels are laid out differently than expected" >&2; exit 1; }
for folder in bin nvvm; do
    ln -sfn "$toolkit/$folder" "$home/$folder"
done
mkdir -p "$home/include" "$home/lib64" "$home/stubs"
ln -sfn lib64 "$home/lib"
for folder in "$toolkit" "$home/wheels/nvidia/cudnn" "$home/wheels/nvidia/nccl"; do
    for header in "$folder"/include/*; do
        ln -sfn "$header" "$home/include/${header##*/}"
    done
    # The linker looks for libX.so, the wheels hold libX.so.N.
    for library in "$folder"/lib/lib*; do
        name="${library##*/}"
        ln -sfn "$library" "$home/lib64/$name"
        case "$name" in
            *.so.*) ln -sfn "$library" "$home/lib64/${name%%.so.*}.so" ;;
        esac
    done
done

# No wheel holds the driver: one empty function for each that cudarc may call.
cudarc="$(cd "$root" && cargo metadata --format-version 1 --all-features \
    | python3 -c 'import json, os, sys
print(next(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc"))')"
grep -oE 'fn cu[A-Z][A-Za-z0-9_]*' "$cudarc/src/driver/sys/mod.rs" | cut -c 4- | sort -u \
    | sed 's/.*/int &(void) { return 100; } \/\/ CUDA_ERROR_NO_DEVICE/' > "$home/stubs/cuda.c"
"${CC:-cc}" -shared -fPIC -O1 -w -Wl,-soname,libcuda.so.1 -o "$home/stubs/libcuda.so" "$home/stubs/cuda.c"
# cudarc's build script looks for libcuda beside the other libraries too.
ln -sfn "$home/stubs/libcuda.so" "$home/lib64/libcuda.so"

cat > "$home/env" <<END
export CUDA_HOME="$home" CUDA_PATH="$home" CUDA_ROOT="$home" CUDA_TOOLKIT_ROOT_DIR="$home"
export CUDA_COMPUTE_CAP="\${CUDA_COMPUTE_CAP:-80}"    # PTX for compute_80 runs on every later GPU
export PATH="$home/bin:\$PATH"
export LIBRARY_PATH="$home/lib64\${LIBRARY_PATH:+:\$LIBRARY_PATH}"
export LD_LIBRARY_PATH="$home/wheels/nvidia/cu13/lib:$home/wheels/nvidia/cudnn/lib:$home/wheels/nvidia/nccl/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
END
"$home/bin/nvcc" --version | tail -2
echo "source $home/env"
