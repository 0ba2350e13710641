// CUDA's driver, cuBLAS, cuDNN, cuRAND, NCCL and NVRTC as far as this crate and candle use them, on the processor: our kernels thread by
// thread, products and convolutions by plain loops in double precision. One library under all their names, for programs that are linked
// with CUDA: it checks, where there is no GPU, what the host tells whom.
//
// Memory is filled with rubbish when it is given out, and a guard behind each piece is looked at when it comes back; streams.h says what
// is found out about streams.

#include "kernels.h"
#include "streams.h"
#include "collectives.h"

namespace quantizer {
#include "../../../cytoself-vq/src/kernels/split_quantize.cu"
}

// ---- kernels by name
struct Function {
    std::string name;
    const Entry* ours = nullptr;
    std::function<void(void**)> candle;
    // Bytes of the arguments.
    std::vector<size_t> sizes;
};
static std::map<std::string, Function> functions;

template <typename T>
static T value(void* p) { T v; memcpy(&v, p, sizeof v); return v; }

// A kernel of candle's; none of its arguments is longer than 8 bytes.
struct Candle {
    size_t arguments;
    std::function<void(void**)> call;
};

// Where value `i` of a strided array lies: info = dims, strides.
static size_t strided(size_t i, size_t rank, const size_t* info) {
    if (!info) return i;
    size_t at = 0;
    for (size_t d = rank; d-- > 0;) {
        at += i % info[d] * info[rank + d];
        i /= info[d];
    }
    return at;
}
static Candle unary(float (*f)(float)) {
    return {5, [f](void** p) {
        size_t n = value<size_t>(p[0]), rank = value<size_t>(p[1]);
        auto info = value<const size_t*>(p[2]);
        auto x = value<const float*>(p[3]);
        auto y = memory<float>(value<void*>(p[4]), n);
        for (size_t i = 0; i < n; ++i) y[i] = f(x[strided(i, rank, info)]);
    }};
}
static Candle binary(float (*f)(float, float)) {
    return {6, [f](void** p) {
        size_t n = value<size_t>(p[0]), rank = value<size_t>(p[1]);
        auto info = value<const size_t*>(p[2]);
        auto a = value<const float*>(p[3]), b = value<const float*>(p[4]);
        auto y = memory<float>(value<void*>(p[5]), n);
        for (size_t i = 0; i < n; ++i) {
            size_t ia = i, ib = i;
            if (info) {
                ia = ib = 0;
                size_t rest = i;
                for (size_t d = rank; d-- > 0;) {
                    ia += rest % info[d] * info[rank + d];
                    ib += rest % info[d] * info[2 * rank + d];
                    rest /= info[d];
                }
            }
            y[i] = f(a[ia], b[ib]);
        }
    }};
}
// The few kernels of candle's that the network uses, on scalars and vectors.
static std::map<std::string, Candle> candle = {
    {"ucopy_f32", unary([](float v) { return v; })},
    {"usqr_f32", unary([](float v) { return v * v; })},
    {"badd_f32", binary([](float a, float b) { return a + b; })},
    {"bsub_f32", binary([](float a, float b) { return a - b; })},
    {"bmul_f32", binary([](float a, float b) { return a * b; })},
    {"affine_f32",
     {7, [](void** p) {
         size_t n = value<size_t>(p[0]), rank = value<size_t>(p[1]);
         auto info = value<const size_t*>(p[2]);
         auto x = value<const float*>(p[3]);
         auto y = memory<float>(value<void*>(p[4]), n);
         for (size_t i = 0; i < n; ++i) y[i] = x[strided(i, rank, info)] * value<float>(p[5]) + value<float>(p[6]);
     }}},
    {"const_set_f32",
     {5, [](void** p) {
         size_t n = value<size_t>(p[0]), rank = value<size_t>(p[1]);
         auto info = value<const size_t*>(p[2]);
         auto y = value<float*>(p[4]);
         for (size_t i = 0; i < n; ++i) y[strided(i, rank, info)] = value<float>(p[3]);
     }}},
    {"cast_u32_f32",
     {5, [](void** p) {
         size_t n = value<size_t>(p[0]), rank = value<size_t>(p[1]);
         auto info = value<const size_t*>(p[2]);
         auto x = value<const uint32_t*>(p[3]);
         auto y = memory<float>(value<void*>(p[4]), n);
         for (size_t i = 0; i < n; ++i) y[i] = (float)x[strided(i, rank, info)];
     }}},
    {"copy2d_f32",
     {6, [](void** p) {
         auto x = value<const float*>(p[0]);
         auto y = value<float*>(p[1]);
         for (size_t r = 0; r < value<uint32_t>(p[2]); ++r)
             for (size_t c = 0; c < value<uint32_t>(p[3]); ++c)
                 *memory<float>(y + r * value<uint32_t>(p[5]) + c, 1) = *memory<float>(x + r * value<uint32_t>(p[4]) + c, 1);
     }}},
};
static std::map<std::string, Entry> search = [] {
    using namespace quantizer;
    return std::map<std::string, Entry>{ENTRY(prepare_codes), ENTRY(nearest_f32), ENTRY(nearest_tf32x3), ENTRY(nearest_tf32),
                                        ENTRY(nearest_bf16),  ENTRY(merge_splits), ENTRY(code_sums), ENTRY(codebook_gradient),
                                        ENTRY(commitment_gradient), ENTRY(summarise)};
}();
static float upper_half(uint16_t half) { return __uint_as_float((uint32_t)half << 16); }

API Status cuInit(unsigned) { return SUCCESS; }
API Status cuDeviceGetCount(int* count) { return *count = GPUS, SUCCESS; }
API Status cuDeviceGet(int* device, int ordinal) { return *device = ordinal, ordinal >= 0 && ordinal < GPUS ? SUCCESS : INVALID_VALUE; }
API Status cuDeviceGetUuid_v2(char* uuid, int device) { return memset(uuid, device + 1, 16), SUCCESS; }
API Status cuDeviceGetName(char* name, int length, int) { return snprintf(name, length, "emulated GPU"), SUCCESS; }
API Status cuDeviceGetAttribute(int* value, int attribute, int) {
    // Multiprocessors; compute capability, major; memory pools.
    *value = attribute == 16 ? 6 : attribute == 75 ? 9 : attribute == 115 ? 1 : 0;
    return SUCCESS;
}
static int context;  // what handles point to that stand for nothing
API Status cuDevicePrimaryCtxRetain(void** c, int device) { return *c = &contexts[device], SUCCESS; }
API Status cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
API Status cuCtxGetCurrent(void** c) { return *c = chosen, SUCCESS; }
API Status cuCtxSetCurrent(void* c) { return chosen = (Context*)c, SUCCESS; }
API Status cuGetErrorName(Status, const char** name) { return *name = "EMULATED", SUCCESS; }
API Status cuGetErrorString(Status status, const char** text) {
    static char words[64];
    snprintf(words, sizeof words, "emulated driver, status %d", status);
    return *text = words, SUCCESS;
}

API Status cuModuleLoadData(void** module, const void*) { return *module = &context, SUCCESS; }
API Status cuModuleUnload(void*) { return SUCCESS; }
API Status cuModuleGetFunction(void** function, void*, const char* name) {
    Held held(lock);
    Function& f = functions[name];
    f.name = name;
    if (auto found = kernels.find(name); found != kernels.end()) f.ours = &found->second, f.sizes = found->second.sizes;
    else if (auto found = search.find(name); found != search.end()) f.ours = &found->second, f.sizes = found->second.sizes;
    else if (auto found = candle.find(name); found != candle.end()) f.candle = found->second.call, f.sizes.assign(found->second.arguments, 8);
    else return fprintf(stderr, "emulated CUDA: no kernel %s\n", name), NOT_FOUND;
    return *function = &f, SUCCESS;
}
API Status cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned, void* handle,
                          void** arguments, void**) {
    Held held(lock);
    Function& f = *static_cast<Function*>(function);
    Stream& stream = stream_of(handle);
    if (stream.graph) {
        std::vector<std::vector<char>> values;
        for (size_t i = 0; i < f.sizes.size(); ++i) {
            auto first = static_cast<const char*>(arguments[i]);
            values.emplace_back(first, first + f.sizes[i]);
        }
        return kept(stream, [=]() mutable {
            std::vector<void*> pointers;
            for (auto& value : values) pointers.push_back(value.data());
            if (cuLaunchKernel(function, gx, gy, gz, bx, by, bz, 0, handle, pointers.data(), nullptr) != SUCCESS) fail("a launch in a graph");
        }), SUCCESS;
    }
    ++launches;
    stream.make_all();
    stream.next();
    if (f.candle) return f.candle(arguments), SUCCESS;
    for (size_t i = 0; i < f.ours->arguments.size(); ++i) {
        const Kind kind = f.ours->arguments[i];
        if (kind == Kind::READ || kind == Kind::WRITTEN) access(stream, value<Address>(arguments[i]), kind == Kind::WRITTEN);
    }
    if (gz != 1 || by != 1 || bz != 1 || bx != THREADS || gx == 0 || gy == 0) return INVALID_VALUE;
    launch({gx, gy}, bx, [&] { f.ours->call(arguments); });
    return SUCCESS;
}

// ---- NVRTC: not installed
API Status nvrtcCreateProgram(void**, const char*, const char*, int, const char* const*, const char* const*) { return 1; }
API const char* nvrtcGetErrorString(Status) { return "emulated"; }

// ---- cuRAND
API Status curandCreateGenerator(void** g, int) { return *g = &context, SUCCESS; }
API Status curandDestroyGenerator(void*) { return SUCCESS; }
API Status curandSetStream(void*, void*) { return SUCCESS; }
API Status curandSetPseudoRandomGeneratorSeed(void*, unsigned long long) { return SUCCESS; }

// ---- cuBLAS, columns first
struct Handle {
    Stream* stream = &default_stream;
    const void* workspace = nullptr;
    size_t bytes = 0;
};
API Status cublasCreate_v2(Handle** h) { return *h = new Handle, SUCCESS; }
API Status cublasDestroy_v2(Handle* h) { return delete h, SUCCESS; }
// Forgets the workspace, as cuBLAS does.
API Status cublasSetStream_v2(Handle* h, void* handle) { return *h = Handle{&stream_of(handle)}, SUCCESS; }
API Status cublasSetWorkspace_v2(Handle* h, const void* workspace, size_t bytes) {
    Held held(lock);
    memory<char>(workspace, bytes);
    return h->workspace = workspace, h->bytes = bytes, SUCCESS;
}
API Status cublasGemmEx(Handle* handle, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int at, int lda, const void* b,
                        int bt, int ldb, const void* beta, void* c, int ct, int ldc, int kind, int algorithm) {
    Held held(lock);
    enum { R32F = 0, R16BF = 14 };
    if (at != bt || (at != R32F && at != R16BF) || ct != R32F || value<float>((void*)beta) != 0.0f) return 15;
    if (handle->stream->graph) {
        if (!handle->workspace) fail("cuBLAS reserves memory of its own in a capture");
        const float one = value<float>((void*)alpha), zero = 0.0f;
        return kept(*handle->stream, [=] {
            cublasGemmEx(handle, ta, tb, m, n, k, &one, a, at, lda, b, bt, ldb, &zero, c, ct, ldc, kind, algorithm);
        }), SUCCESS;
    }
    if (handle->workspace) memset(memory<char>(handle->workspace, handle->bytes), 0x5a, 64);
    const int rows_a = ta ? k : m, columns_a = ta ? m : k, rows_b = tb ? n : k, columns_b = tb ? k : n;
    if (lda < rows_a || ldb < rows_b || ldc < m) return 7;
    const size_t size = at == R32F ? 4 : 2;
    memory<char>(a, size * ((size_t)lda * (columns_a - 1) + rows_a));
    memory<char>(b, size * ((size_t)ldb * (columns_b - 1) + rows_b));
    float* y = memory<float>(c, (size_t)ldc * (n - 1) + m);
    auto read = [&](const void* x, size_t i) { return (double)(at == R32F ? ((const float*)x)[i] : upper_half(((const uint16_t*)x)[i])); };
    for (int j = 0; j < n; ++j)
        for (int i = 0; i < m; ++i) {
            double sum = 0;
            for (int l = 0; l < k; ++l)
                sum += read(a, ta ? (size_t)i * lda + l : (size_t)l * lda + i) * read(b, tb ? (size_t)l * ldb + j : (size_t)j * ldb + l);
            y[(size_t)j * ldc + i] = (float)(value<float>((void*)alpha) * sum);
        }
    return SUCCESS;
}

// ---- cuDNN
struct Map {
    int format = -1, type = -1, size[4] = {0, 0, 0, 0};
    size_t count() const { return (size_t)size[0] * size[1] * size[2] * size[3]; }
    size_t at(int n, int c, int h, int w) const {
        return format == 0 ? (((size_t)n * size[1] + c) * size[2] + h) * size[3] + w : (((size_t)n * size[2] + h) * size[3] + w) * size[1] + c;
    }
    size_t bytes() const { return count() * (type == 0 ? 4 : 2); }
    double read(const void* x, size_t i) const { return type == 0 ? ((const float*)x)[i] : upper_half(((const uint16_t*)x)[i]); }
    void write(void* x, size_t i, double v) const {
        if (type == 0) ((float*)x)[i] = (float)v;
        else ((uint16_t*)x)[i] = to_half((float)v);
    }
};
struct Convolution {
    int pad[2], stride[2], math = 0;
};
struct Rating {
    int algorithm, status;
    float time;
    size_t memory;
    int determinism, math, reserved[3];
};
static const size_t WORKSPACE = 1000;
enum { DNN_BAD = 2000 };

API Status cudnnCreate(Handle** h) { return *h = new Handle, SUCCESS; }
API Status cudnnDestroy(Handle* h) { return delete h, SUCCESS; }
API Status cudnnSetStream(Handle* h, void* handle) { return h->stream = &stream_of(handle), SUCCESS; }
API const char* cudnnGetErrorString(Status) { return "emulated"; }
API Status cudnnCreateTensorDescriptor(Map** d) { return *d = new Map, SUCCESS; }
API Status cudnnDestroyTensorDescriptor(Map* d) { return delete d, SUCCESS; }
API Status cudnnCreateFilterDescriptor(Map** d) { return *d = new Map, SUCCESS; }
API Status cudnnDestroyFilterDescriptor(Map* d) { return delete d, SUCCESS; }
API Status cudnnCreateConvolutionDescriptor(Convolution** d) { return *d = new Convolution, SUCCESS; }
API Status cudnnDestroyConvolutionDescriptor(Convolution* d) { return delete d, SUCCESS; }
API Status cudnnSetTensor4dDescriptor(Map* d, int format, int type, int n, int c, int h, int w) {
    *d = Map{format, type, {n, c, h, w}};
    return SUCCESS;
}
API Status cudnnSetFilter4dDescriptor(Map* d, int type, int format, int k, int c, int h, int w) {
    *d = Map{format, type, {k, c, h, w}};
    return SUCCESS;
}
API Status cudnnSetConvolution2dDescriptor(Convolution* d, int top, int left, int down, int right, int dh, int dw, int mode, int type) {
    if (dh != 1 || dw != 1 || mode != 1 || type != 0) return DNN_BAD;  // cross-correlation, f32
    d->pad[0] = top, d->pad[1] = left, d->stride[0] = down, d->stride[1] = right;
    return SUCCESS;
}
API Status cudnnSetConvolutionMathType(Convolution* d, int math) { return d->math = math, SUCCESS; }

static bool fits(const Map& x, const Map& w, const Convolution& c, const Map& y) {
    if (x.format != w.format || x.format != y.format || x.type != w.type || x.type != y.type) return false;
    if ((x.type != 0 && x.type != 9) || (x.type == 9) != (x.format == 1)) return false;
    if (x.type == 9 && (x.size[1] % 8 || y.size[1] % 8)) return false;
    bool same = x.size[0] == y.size[0] && x.size[1] == w.size[1] && w.size[0] == y.size[1];
    for (int i = 0; i < 2; ++i) same &= y.size[2 + i] == (x.size[2 + i] + 2 * c.pad[i] - w.size[2 + i]) / c.stride[i] + 1;
    return same;
}
static Status rate(const Map& x, const Map& w, const Convolution& c, const Map& y, int asked, int* count, Rating* rated) {
    if (!fits(x, w, c, y) || asked < 2) return DNN_BAD;
    rated[0] = Rating{0, 3000, 0, (size_t)1 << 40, 0, 0, {}};  // not supported
    rated[1] = Rating{1, SUCCESS, 0, WORKSPACE, 1, x.type == 9 ? 1 : c.math, {}};
    return *count = 2, SUCCESS;
}
API Status cudnnGetConvolutionForwardAlgorithm_v7(void*, Map* x, Map* w, Convolution* c, Map* y, int asked, int* count, Rating* rated) {
    return rate(*x, *w, *c, *y, asked, count, rated);
}
API Status cudnnGetConvolutionBackwardDataAlgorithm_v7(void*, Map* w, Map* y, Convolution* c, Map* x, int asked, int* count, Rating* rated) {
    return rate(*x, *w, *c, *y, asked, count, rated);
}
API Status cudnnGetConvolutionBackwardFilterAlgorithm_v7(void*, Map* x, Map* y, Convolution* c, Map* w, int asked, int* count, Rating* rated) {
    return rate(*x, *w, *c, *y, asked, count, rated);
}
API Status cudnnGetConvolutionForwardWorkspaceSize(void*, Map* x, Map* w, Convolution* c, Map* y, int a, size_t* size) {
    return *size = WORKSPACE, fits(*x, *w, *c, *y) && a == 1 ? SUCCESS : DNN_BAD;
}
API Status cudnnGetConvolutionBackwardDataWorkspaceSize(void*, Map* w, Map* y, Convolution* c, Map* x, int a, size_t* size) {
    return *size = WORKSPACE, fits(*x, *w, *c, *y) && a == 1 ? SUCCESS : DNN_BAD;
}
API Status cudnnGetConvolutionBackwardFilterWorkspaceSize(void*, Map* x, Map* y, Convolution* c, Map* w, int a, size_t* size) {
    return *size = WORKSPACE, fits(*x, *w, *c, *y) && a == 1 ? SUCCESS : DNN_BAD;
}

enum Written { RESULT, INPUT, WEIGHTS };
static Status convolve(Handle* h, Written written, Map dx, void* x, Map dw, void* w, Convolution c, Map dy, void* y, int a, void* space,
                       size_t size, const void* alpha, const void* beta) {
    Held held(lock);
    if (!fits(dx, dw, c, dy) || a != 1 || size < WORKSPACE || value<float>((void*)alpha) != 1.0f || value<float>((void*)beta) != 0.0f)
        return DNN_BAD;
    if (h->stream->graph) {
        const float one = 1, zero = 0;
        return kept(*h->stream, [=] { convolve(h, written, dx, x, dw, w, c, dy, y, a, space, size, &one, &zero); }), SUCCESS;
    }
    memset(memory<char>(space, size), 0x5a, size);
    memory<char>(x, dx.bytes()), memory<char>(w, dw.bytes()), memory<char>(y, dy.bytes());
    const Map& to = written == RESULT ? dy : written == INPUT ? dx : dw;
    std::vector<double> sums(to.count());
    for (int n = 0; n < dx.size[0]; ++n)
        for (int o = 0; o < dy.size[1]; ++o)
            for (int i = 0; i < dy.size[2]; ++i)
                for (int j = 0; j < dy.size[3]; ++j)
                    for (int k = 0; k < dw.size[2]; ++k)
                        for (int l = 0; l < dw.size[3]; ++l) {
                            int h = i * c.stride[0] + k - c.pad[0], v = j * c.stride[1] + l - c.pad[1];
                            if (h < 0 || v < 0 || h >= dx.size[2] || v >= dx.size[3]) continue;
                            for (int in = 0; in < dx.size[1]; ++in) {
                                size_t ix = dx.at(n, in, h, v), iw = dw.at(o, in, k, l), iy = dy.at(n, o, i, j);
                                if (written == RESULT) sums[iy] += dx.read(x, ix) * dw.read(w, iw);
                                if (written == INPUT) sums[ix] += dy.read(y, iy) * dw.read(w, iw);
                                if (written == WEIGHTS) sums[iw] += dx.read(x, ix) * dy.read(y, iy);
                            }
                        }
    void* out = written == RESULT ? y : written == INPUT ? x : w;
    for (size_t i = 0; i < sums.size(); ++i) to.write(out, i, sums[i]);
    return SUCCESS;
}
API Status cudnnConvolutionForward(Handle* h, const void* alpha, Map* dx, const void* x, Map* dw, const void* w, Convolution* c, int a, void* space,
                                   size_t size, const void* beta, Map* dy, void* y) {
    return convolve(h, RESULT, *dx, (void*)x, *dw, (void*)w, *c, *dy, y, a, space, size, alpha, beta);
}
API Status cudnnConvolutionBackwardData(Handle* h, const void* alpha, Map* dw, const void* w, Map* dy, const void* y, Convolution* c, int a,
                                        void* space, size_t size, const void* beta, Map* dx, void* x) {
    return convolve(h, INPUT, *dx, x, *dw, (void*)w, *c, *dy, (void*)y, a, space, size, alpha, beta);
}
API Status cudnnConvolutionBackwardFilter(Handle* h, const void* alpha, Map* dx, const void* x, Map* dy, const void* y, Convolution* c, int a,
                                          void* space, size_t size, const void* beta, Map* dw, void* w) {
    return convolve(h, WEIGHTS, *dx, (void*)x, *dw, w, *c, *dy, (void*)y, a, space, size, alpha, beta);
}

// ---- what programs are linked with and do not call here
#define ABSENT(name) \
    API Status name() { fail(#name " is not emulated"); }
ABSENT(cuCtxDestroy_v2)
ABSENT(cuMemcpyPeerAsync)
ABSENT(cuModuleLoad)
ABSENT(cublasDgemmStridedBatched)
ABSENT(cublasGemmStridedBatchedEx)
ABSENT(nvrtcCompileProgram)
ABSENT(nvrtcDestroyProgram)
ABSENT(nvrtcGetPTX)
ABSENT(nvrtcGetPTXSize)
ABSENT(nvrtcGetProgramLog)
ABSENT(nvrtcGetProgramLogSize)
