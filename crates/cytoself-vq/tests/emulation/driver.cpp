// The part of the CUDA driver that the host side of this crate uses, over the emulated kernels: a libcuda.so that checks, where there
// is no GPU, what is launched with which arguments. Memory is filled with rubbish when it is given out, and a guard behind each
// piece is looked at when it comes back.

#include <mutex>

#include "entries.h"

#include "../../src/kernels/split_quantize.cu"

typedef int Status;
typedef unsigned long long Address;
enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_IMAGE = 200, NOT_FOUND = 500 };

static std::map<std::string, Entry> kernels = {
    ENTRY(prepare_codes), ENTRY(nearest_f32), ENTRY(nearest_tf32x3), ENTRY(nearest_tf32),      ENTRY(nearest_bf16),
    ENTRY(merge_splits),  ENTRY(code_sums),   ENTRY(codebook_gradient), ENTRY(commitment_gradient),
    ENTRY(summarise)};

// ---- memory
static const size_t GUARD = 64;
static std::map<Address, size_t> pieces;
static std::mutex lock;
static std::string module_text;

static bool inside(Address at, size_t bytes) {
    auto piece = pieces.upper_bound(at);
    if (piece == pieces.begin()) return false;
    --piece;
    return at + bytes <= piece->first + piece->second;
}

extern "C" {
Status cuInit(unsigned) { return SUCCESS; }
Status cuDeviceGetCount(int* count) { return *count = 1, SUCCESS; }
Status cuDeviceGet(int* device, int ordinal) { return *device = ordinal, ordinal == 0 ? SUCCESS : INVALID_VALUE; }
Status cuDeviceGetName(char* name, int length, int) { return snprintf(name, length, "emulated GPU"), SUCCESS; }
Status cuDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
        case 16: *value = 6; break;  // multiprocessors
        case 75: *value = 9; break;  // compute capability, major
        default: *value = 0;
    }
    return SUCCESS;
}
Status cuDevicePrimaryCtxRetain(void** context, int) { return *context = &pieces, SUCCESS; }
Status cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
Status cuCtxGetCurrent(void** context) { return *context = &pieces, SUCCESS; }
Status cuCtxSetCurrent(void*) { return SUCCESS; }
Status cuStreamSynchronize(void*) { return SUCCESS; }
Status cuGetErrorName(Status, const char** name) { return *name = "EMULATED", SUCCESS; }
Status cuGetErrorString(Status status, const char** text) {
    static char words[64];
    snprintf(words, sizeof words, "emulated driver, status %d", status);
    return *text = words, SUCCESS;
}

Status cuModuleLoadData(void** module, const void* image) {
    module_text = static_cast<const char*>(image);
    *module = &module_text;
    return module_text.find(".version") == std::string::npos ? INVALID_IMAGE : SUCCESS;
}
Status cuModuleUnload(void*) { return SUCCESS; }
Status cuModuleGetFunction(void** function, void*, const char* name) {
    auto found = kernels.find(name);
    if (found == kernels.end() || module_text.find(".visible .entry " + found->first + "(") == std::string::npos) return NOT_FOUND;
    return *function = &found->second, SUCCESS;
}

Status cuMemAlloc_v2(Address* at, size_t bytes) {
    if (bytes == 0) return INVALID_VALUE;
    std::lock_guard<std::mutex> held(lock);
    char* piece = static_cast<char*>(aligned_alloc(256, (bytes + GUARD + 255) / 256 * 256));
    memset(piece, 0xcd, bytes);
    memset(piece + bytes, 0xa5, GUARD);
    *at = reinterpret_cast<Address>(piece);
    pieces[*at] = bytes;
    return SUCCESS;
}
Status cuMemFree_v2(Address at) {
    std::lock_guard<std::mutex> held(lock);
    auto piece = pieces.find(at);
    if (piece == pieces.end()) return INVALID_VALUE;
    const char* guard = reinterpret_cast<const char*>(at) + piece->second;
    for (size_t i = 0; i < GUARD; ++i)
        if (guard[i] != (char)0xa5) {
            fprintf(stderr, "a kernel wrote past the end of %zu bytes\n", piece->second);
            abort();
        }
    pieces.erase(piece);
    free(reinterpret_cast<void*>(at));
    return SUCCESS;
}
Status cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void*) {
    std::lock_guard<std::mutex> held(lock);
    if (!inside(to, bytes)) return INVALID_VALUE;
    return memcpy(reinterpret_cast<void*>(to), from, bytes), SUCCESS;
}
Status cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void*) {
    std::lock_guard<std::mutex> held(lock);
    if (!inside(from, bytes)) return INVALID_VALUE;
    return memcpy(to, reinterpret_cast<void*>(from), bytes), SUCCESS;
}
Status cuMemsetD8Async(Address at, unsigned char value, size_t bytes, void*) {
    std::lock_guard<std::mutex> held(lock);
    if (!inside(at, bytes)) return INVALID_VALUE;
    return memset(reinterpret_cast<void*>(at), value, bytes), SUCCESS;
}

Status cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned, void*,
                      void** arguments, void**) {
    if (gz != 1 || by != 1 || bz != 1 || bx != THREADS || gx == 0 || gy == 0) return INVALID_VALUE;
    std::lock_guard<std::mutex> held(lock);
    Entry& kernel = *static_cast<Entry*>(function);
    launch({gx, gy}, bx, [&] { kernel.call(arguments); });
    return SUCCESS;
}
}
