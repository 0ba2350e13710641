// CUDA kernels on the processor, one block after the other, each thread a fibre: what checks their indices, barriers and
// tensor-core layouts where there is no GPU. Include the kernels after this file.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#define CYTOSELF_EMULATION
#define __device__
#define __global__
#define __shared__ static
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define INFINITE INFINITY

struct Dim {
    unsigned x, y;
};
static Dim threadIdx, blockIdx, blockDim, gridDim;

// ---- fibres and barriers
struct Barrier {
    int waiting = 0, generation = 0;
};
// A context starts each fibre; after that jumps suffice, which leave out the system call that swapcontext makes. A fibre lives on from
// block to block.
struct Fibre {
    ucontext_t start;
    jmp_buf place;
    bool started = false;
};
static const unsigned MOST_THREADS = 1024;
static jmp_buf scheduler;
static Fibre fibres[MOST_THREADS];
static bool alive[MOST_THREADS];
static unsigned current;
static Barrier block_barrier, warp_barriers[32];
static std::function<void()> kernel;

static void yield() {
    if (!_setjmp(fibres[current].place)) _longjmp(scheduler, 1);
}
static void entry() {
    for (;;) {
        kernel();
        alive[current] = false;
        yield();
    }
}
static void resume(unsigned thread) {
    current = thread;
    if (_setjmp(scheduler)) return;
    Fibre& fibre = fibres[thread];
    if (fibre.started) _longjmp(fibre.place, 1);
    fibre.started = true;
    getcontext(&fibre.start);
    fibre.start.uc_stack.ss_size = 128 * 1024;
    fibre.start.uc_stack.ss_sp = malloc(fibre.start.uc_stack.ss_size);
    fibre.start.uc_link = nullptr;
    makecontext(&fibre.start, entry, 0);
    setcontext(&fibre.start);
}
static void wait(Barrier& barrier, int expected) {
    if (++barrier.waiting == expected) {
        barrier.waiting = 0;
        ++barrier.generation;
        return;
    }
    for (int generation = barrier.generation; generation == barrier.generation;) yield();
}
static void __syncthreads() { wait(block_barrier, blockDim.x); }
static void warp_wait() { wait(warp_barriers[threadIdx.x / 32], 32); }

static int barriers_passed() {
    int passed = block_barrier.generation;
    for (const Barrier& b : warp_barriers) passed += b.generation;
    return passed;
}
// A block whose threads wait for each other in vain.
static void check_progress(unsigned left, bool moved) {
    if (left == 0 || moved) return;
    fprintf(stderr, "%u threads of block %u, %u wait at a barrier that the others do not reach\n", left, blockIdx.x, blockIdx.y);
    abort();
}

static void launch(Dim grid, unsigned threads, std::function<void()> body) {
    kernel = body;
    blockDim = {threads, 1};
    gridDim = grid;
    for (unsigned by = 0; by < grid.y; ++by)
        for (unsigned bx = 0; bx < grid.x; ++bx) {
            blockIdx = {bx, by};
            block_barrier = Barrier();
            for (Barrier& b : warp_barriers) b = Barrier();
            for (unsigned t = 0; t < threads; ++t) alive[t] = true;
            for (unsigned left = threads, before = threads + 1; left > 0; before = left) {
                const int passed = barriers_passed();
                left = 0;
                for (unsigned t = 0; t < threads; ++t)
                    if (alive[t]) {
                        threadIdx = {t, 0};
                        resume(t);
                        left += alive[t];
                    }
                check_progress(left, left < before || passed != barriers_passed());
            }
        }
}

// ---- what the kernels take from the compiler
static uint32_t __float_as_uint(float x) { uint32_t y; memcpy(&y, &x, 4); return y; }
static float __uint_as_float(uint32_t x) { float y; memcpy(&y, &x, 4); return y; }
static double __dadd_rn(double a, double b) { return a + b; }
static double __dsub_rn(double a, double b) { return a - b; }
static double __dmul_rn(double a, double b) { return a * b; }
static float __fmul_rn(float a, float b) { return a * b; }
static float __fsub_rn(float a, float b) { return a - b; }
static float __double2float_ru(double x) { float y = (float)x; return (double)y < x ? std::nextafterf(y, INFINITY) : y; }
static float __int_as_float(uint32_t x) { return __uint_as_float(x); }
static float __fadd_rn(float a, float b) { return a + b; }
static float __fdiv_rn(float a, float b) { return a / b; }
static float __fdividef(float a, float b) { return a / b; }
static float __fsqrt_rn(float a) { return std::sqrt(a); }
static float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
static uint32_t __umulhi(uint32_t a, uint32_t b) { return (uint64_t)a * b >> 32; }
static uint32_t min(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t max(uint32_t a, uint32_t b) { return a > b ? a : b; }
static int __popc(uint32_t x) { return __builtin_popcount(x); }
static uint32_t atomicAdd(uint32_t* p, uint32_t v) { uint32_t old = *p; *p += v; return old; }
static uint32_t atomicMax(uint32_t* p, uint32_t v) { uint32_t old = *p; if (v > old) *p = v; return old; }

static uint64_t slots[32][32];
template <typename T>
static T __shfl_xor_sync(uint32_t, T value, int step) {
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    memcpy(&slots[warp][lane], &value, sizeof(T));
    warp_wait();
    memcpy(&value, &slots[warp][lane ^ step], sizeof(T));
    warp_wait();
    return value;
}
static uint32_t __ballot_sync(uint32_t, bool value) {
    unsigned warp = threadIdx.x / 32;
    slots[warp][threadIdx.x % 32] = value;
    warp_wait();
    uint32_t all = 0;
    for (int l = 0; l < 32; ++l) all |= (uint32_t)slots[warp][l] << l;
    warp_wait();
    return all;
}

static void copy_16(float* to, const float* from) { memcpy(to, from, 16); }
static void copies_begin() {}
static void copies_wait_1() {}
static void copies_wait_0() {}
// Nearest with ties away from zero, 10 bits of fraction.
static uint32_t to_tf32(float x) { return (__float_as_uint(x) + 0x1000u) & ~0x1fffu; }
static uint32_t to_bf16(float x) {
    uint32_t bits = __float_as_uint(x);
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
static uint32_t to_bf16x2(float low, float high) { return to_bf16(low) | to_bf16(high) << 16; }

// The fragments of a warp, gathered: PTX ISA, "Matrix Fragments for mma.m16n8k8" and "mma.m16n8k16".
struct Fragments {
    uint32_t a[32][4], b[32][2];
};
static Fragments fragments[8];
static void gather(const uint32_t a[4], const uint32_t b[2]) {
    Fragments& f = fragments[threadIdx.x / 32];
    memcpy(f.a[threadIdx.x % 32], a, 16);
    memcpy(f.b[threadIdx.x % 32], b, 8);
    warp_wait();
}
static float bf16(uint32_t pair, int half) { return __uint_as_float(half ? pair & 0xffff0000u : pair << 16); }
template <int K>
static void multiply(float d[4]) {
    const Fragments& f = fragments[threadIdx.x / 32];
    int lane = threadIdx.x % 32;
    for (int r = 0; r < 4; ++r) {
        int row = lane / 4 + 8 * (r / 2), column = lane % 4 * 2 + r % 2;
        for (int k = 0; k < K; ++k) {
            float a, b;
            if (K == 8) {
                a = __uint_as_float(f.a[row % 8 * 4 + k % 4][row / 8 + 2 * (k / 4)]);
                b = __uint_as_float(f.b[column * 4 + k % 4][k / 4]);
            } else {
                a = bf16(f.a[row % 8 * 4 + k % 8 / 2][row / 8 + 2 * (k / 8)], k % 2);
                b = bf16(f.b[column * 4 + k % 8 / 2][k / 8], k % 2);
            }
            d[r] += a * b;
        }
    }
    warp_wait();
}
static void mma_tf32(float d[4], const uint32_t a[4], const uint32_t b[2]) { gather(a, b); multiply<8>(d); }
static void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) { gather(a, b); multiply<16>(d); }
