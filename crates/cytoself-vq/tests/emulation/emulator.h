// The CUDA kernels on the processor, one block after the other, each thread a fibre: what checks their indices, barriers and
// tensor-core layouts where there is no GPU.
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
#define __launch_bounds__(n)
#define INFINITE INFINITY

struct Dim {
    unsigned x, y;
};
static Dim threadIdx, blockIdx, blockDim;

// ---- fibres and barriers
struct Barrier {
    int waiting = 0, generation = 0;
};
// A context starts each fibre; after that jumps suffice, which leave out the system call that swapcontext makes.
struct Fibre {
    ucontext_t start;
    jmp_buf place;
    bool started = false;
};
static jmp_buf scheduler;
static std::vector<Fibre> fibres;
static std::vector<bool> alive;
static unsigned current;
static Barrier block_barrier, warp_barriers[32];
static std::function<void()> kernel;

static void yield() {
    if (!_setjmp(fibres[current].place)) _longjmp(scheduler, 1);
}
static void resume(unsigned thread) {
    current = thread;
    if (_setjmp(scheduler)) return;
    if (fibres[thread].started) _longjmp(fibres[thread].place, 1);
    fibres[thread].started = true;
    setcontext(&fibres[thread].start);
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

static void entry() {
    kernel();
    alive[current] = false;
    yield();
}

static void launch(Dim grid, unsigned threads, std::function<void()> body) {
    const size_t stack = 128 * 1024;
    static std::vector<char> stacks(256 * stack);
    kernel = body;
    blockDim = {threads, 1};
    for (unsigned by = 0; by < grid.y; ++by)
        for (unsigned bx = 0; bx < grid.x; ++bx) {
            blockIdx = {bx, by};
            block_barrier = Barrier();
            for (Barrier& b : warp_barriers) b = Barrier();
            fibres.assign(threads, Fibre());
            alive.assign(threads, true);
            for (unsigned t = 0; t < threads; ++t) {
                ucontext_t& start = fibres[t].start;
                getcontext(&start);
                start.uc_stack.ss_sp = &stacks[t * stack];
                start.uc_stack.ss_size = stack;
                start.uc_link = nullptr;
                makecontext(&start, entry, 0);
            }
            for (unsigned left = threads; left > 0;) {
                left = 0;
                for (unsigned t = 0; t < threads; ++t)
                    if (alive[t]) {
                        threadIdx = {t, 0};
                        resume(t);
                        left += alive[t];
                    }
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
static uint32_t min(uint32_t a, uint32_t b) { return a < b ? a : b; }
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

#include "../../src/kernels/split_quantize.cu"
