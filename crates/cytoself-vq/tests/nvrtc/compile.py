"""Compiles a CUDA source with NVRTC: compile.py SOURCE ARCHITECTURE OUTPUT, where `nvidia-cuda-nvrtc` is installed."""
import ctypes, glob, os, sys, sysconfig

source, architecture, output = sys.argv[1:]
library = sorted(glob.glob(os.path.join(sysconfig.get_paths()["purelib"], "nvidia", "**", "libnvrtc.so*"), recursive=True))
library = [path for path in library if ".alt." not in path]
if not library:
    sys.exit("libnvrtc.so not found in the environment")
# NVRTC opens its built-in functions by bare name: here they are loaded already.
for builtins in glob.glob(os.path.join(os.path.dirname(library[0]), "libnvrtc-builtins.so*")):
    ctypes.CDLL(builtins, mode=ctypes.RTLD_GLOBAL)
nvrtc = ctypes.CDLL(library[0])


def check(status, what):
    if status != 0:
        sys.exit(f"{what}: nvrtc status {status}")


program = ctypes.c_void_p()
with open(source, "rb") as file:
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), file.read(), b"split_quantize.cu", 0, None, None), "create")
options = [f"--gpu-architecture={architecture}".encode()]
status = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
if status != 0:
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    sys.exit(log.value.decode())
size = ctypes.c_size_t()
check(nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)), "size")
ptx = ctypes.create_string_buffer(size.value)
check(nvrtc.nvrtcGetPTX(program, ptx), "ptx")
with open(output, "wb") as file:
    file.write(ptx.value)
