"""Compiles a CUDA source with NVRTC: compile.py SOURCE OUTPUT FOLDER ARCHITECTURE...

FOLDER is where `pip install --target FOLDER nvidia-cuda-nvrtc-cu12` went. Writes OUTPUT.ARCHITECTURE for each architecture.
"""
import ctypes, glob, os, sys

source, output, folder, *architectures = sys.argv[1:]
pattern = "nvrtc64*.dll" if os.name == "nt" else "libnvrtc.so*"
library = sorted(glob.glob(os.path.join(folder, "nvidia", "**", pattern), recursive=True))
library = [path for path in library if ".alt." not in path and "builtins" not in path]
if not library:
    sys.exit(f"{pattern} not found in {folder}")
# NVRTC opens its built-in functions by bare name: here they are loaded already.
for builtins in glob.glob(os.path.join(os.path.dirname(library[0]), "*nvrtc-builtins*")):
    ctypes.CDLL(builtins, mode=ctypes.RTLD_GLOBAL)
nvrtc = ctypes.CDLL(library[0])


def check(status, what):
    if status != 0:
        sys.exit(f"{what}: nvrtc status {status}")


def text(program, size_of, get):
    size = ctypes.c_size_t()
    check(size_of(program, ctypes.byref(size)), "size")
    buffer = ctypes.create_string_buffer(size.value)
    check(get(program, buffer), "text")
    return buffer.value


with open(source, "rb") as file:
    code = file.read()
for architecture in architectures:
    program = ctypes.c_void_p()
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), code, os.path.basename(source).encode(), 0, None, None), "create")
    option = ctypes.c_char_p(f"--gpu-architecture={architecture}".encode())
    if nvrtc.nvrtcCompileProgram(program, 1, ctypes.byref(option)) != 0:
        sys.exit(text(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog).decode())
    with open(f"{output}.{architecture}", "wb") as file:
        file.write(text(program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX))
