// Memory, streams and events.
//
// What a stream has to do is done at once, but for copies from and to page-locked memory, which a GPU makes beside everything else: they
// are put off until something has to wait for them. Who writes the pages again too early, or reads what has not arrived, gets the wrong
// values.
//
// And of each piece of memory it is known which streams wrote and read it, and of each stream, which work of the others it has waited
// for: two streams that come to the same memory, one of them to write, without one having waited for the other, are found out, whatever
// the values. Nor may a stream of one GPU come to the memory of another.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>

typedef unsigned long long Address;

[[noreturn]] static void fail(const std::string& what) {
    fprintf(stderr, "emulated CUDA: %s\n", what.c_str());
    abort();
}

// With CYTOSELF_EMULATION_TRACE, every time that the host waits, and how many kernels it has launched by then.
static size_t launches = 0;
static void waits(const char* why) {
    static const bool told = getenv("CYTOSELF_EMULATION_TRACE");
    if (told) fprintf(stderr, "emulated CUDA: %zu launches, then the host waits: %s\n", launches, why);
}

static std::recursive_mutex lock;
typedef std::lock_guard<std::recursive_mutex> Held;

struct Stream;
// How much of each stream's work is over.
typedef std::map<const Stream*, size_t> Known;
static void merge(Known& into, const Known& from) {
    for (auto [stream, count] : from) into[stream] = std::max(into[stream], count);
}

// ---- GPUs, of which a thread has told the driver which it means
static const int GPUS = 4;
struct Context {
    int gpu;
};
static Context contexts[GPUS] = {{0}, {1}, {2}, {3}};
static thread_local Context* chosen = nullptr;
static int current_gpu() { return chosen ? chosen->gpu : -1; }

struct Copy {
    const char* pages;
    size_t bytes;
    std::function<void()> make;
};
struct Stream {
    // -1: of any.
    int gpu = -1;
    Known clock;
    size_t count = 0, made = 0;
    std::deque<Copy> put_off;

    void make(size_t until) {
        for (; made < until && !put_off.empty(); ++made) {
            put_off.front().make();
            put_off.pop_front();
        }
    }
    void make_all() { make(made + put_off.size()); }
    // The next piece of work.
    void next();
};
struct Event {
    Known clock;
    Stream* stream = nullptr;
    size_t copies = 0;
};
static std::set<Stream*> streams;
// What the host has waited for.
static Known host;
static Stream default_stream;

static Stream& stream_of(void* handle) { return handle ? *static_cast<Stream*>(handle) : default_stream; }

void Stream::next() {
    merge(clock, host);
    clock[this] = ++count;
}

// ---- memory
static const size_t GUARD = 64;
struct Region {
    size_t bytes;
    int gpu;
    Known written, read;
};
static std::map<Address, Region> pieces;
static std::map<const char*, size_t> locked_pages;

static Region* piece_of(Address at, size_t bytes = 0) {
    auto piece = pieces.upper_bound(at);
    if (piece == pieces.begin()) return nullptr;
    --piece;
    return at + bytes <= piece->first + piece->second.bytes ? &piece->second : nullptr;
}
static bool inside(Address at, size_t bytes) { return piece_of(at, bytes) != nullptr; }
template <typename T>
static T* memory(const void* at, size_t count) {
    if (!inside((Address)at, count * sizeof(T))) fail("an array of " + std::to_string(count) + " values does not fit its memory");
    return (T*)at;
}

static void in_order(const Known& earlier, const Stream& now, const char* what) {
    for (auto [stream, count] : earlier) {
        auto known = now.clock.find(stream);
        if (known == now.clock.end() || known->second < count) fail(std::string("a stream ") + what + ", without having waited for it");
    }
}
// `stream`, whose work this is part of, comes to the piece that holds `at`; what lies in no piece is none of the GPU's.
static void access(Stream& stream, Address at, bool writes) {
    Region* piece = piece_of(at);
    if (!piece) return;
    if (stream.gpu != piece->gpu && stream.gpu != -1 && piece->gpu != -1) fail("a stream of one GPU comes to the memory of another");
    in_order(piece->written, stream, writes ? "writes what another is writing" : "reads what another is writing");
    if (writes) in_order(piece->read, stream, "writes what another is reading");
    (writes ? piece->written : piece->read)[&stream] = stream.count;
}

static bool reserve(Address* at, size_t bytes, int gpu) {
    if (bytes == 0) return false;
    char* piece = static_cast<char*>(aligned_alloc(256, (bytes + GUARD + 255) / 256 * 256));
    memset(piece, 0xff, bytes);  // as floats: NaN
    memset(piece + bytes, 0xa5, GUARD);
    *at = reinterpret_cast<Address>(piece);
    pieces[*at] = Region{bytes, gpu, {}, {}};
    return true;
}
static bool release(Address at) {
    auto piece = pieces.find(at);
    if (piece == pieces.end()) return false;
    char* start = reinterpret_cast<char*>(at);
    for (size_t i = 0; i < GUARD; ++i)
        if (start[piece->second.bytes + i] != (char)0xa5)
            fail("something wrote past the end of " + std::to_string(piece->second.bytes) + " bytes");
    pieces.erase(piece);
    free(start);
    return true;
}

#define API extern "C" __attribute__((visibility("default")))
typedef int Status;
enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_IMAGE = 200, NOT_FOUND = 500 };

API Status cuMemAlloc_v2(Address* at, size_t bytes) {
    Held held(lock);
    return reserve(at, bytes, current_gpu()) ? SUCCESS : INVALID_VALUE;
}
API Status cuMemFree_v2(Address at) {
    Held held(lock);
    return release(at) ? SUCCESS : INVALID_VALUE;
}
API Status cuMemAllocAsync(Address* at, size_t bytes, void* handle) {
    Held held(lock);
    Stream& stream = stream_of(handle);
    if (!reserve(at, bytes, stream.gpu)) return INVALID_VALUE;
    stream.next();
    access(stream, *at, true);
    return SUCCESS;
}
API Status cuMemFreeAsync(Address at, void* handle) {
    Held held(lock);
    Stream& stream = stream_of(handle);
    stream.make_all();
    stream.next();
    access(stream, at, true);
    return release(at) ? SUCCESS : INVALID_VALUE;
}
API Status cuDeviceGetDefaultMemPool(void** pool, int) { return *pool = &pieces, SUCCESS; }
API Status cuMemPoolSetAttribute(void*, int, void*) { return SUCCESS; }
API Status cuMemGetInfo_v2(size_t* free, size_t* total) { return *free = *total = (size_t)1 << 34, SUCCESS; }

API Status cuMemHostAlloc(void** at, size_t bytes, unsigned) {
    Held held(lock);
    if (bytes == 0) return INVALID_VALUE;
    *at = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    locked_pages[(const char*)*at] = bytes;
    return SUCCESS;
}
API Status cuMemFreeHost(void* at) {
    Held held(lock);
    auto pages = locked_pages.find((const char*)at);
    if (pages == locked_pages.end()) return INVALID_VALUE;
    for (Stream* stream : streams)
        for (const Copy& copy : stream->put_off)
            if (copy.pages >= pages->first && copy.pages < pages->first + pages->second) fail("pages are unlocked while they are copied");
    locked_pages.erase(pages);
    free(at);
    return SUCCESS;
}
static bool is_locked(const void* at) {
    auto pages = locked_pages.upper_bound((const char*)at);
    if (pages == locked_pages.begin()) return false;
    --pages;
    return (const char*)at < pages->first + pages->second;
}

API Status cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void* handle) {
    Held held(lock);
    Stream& stream = stream_of(handle);
    if (!inside(to, bytes)) return INVALID_VALUE;
    stream.next();
    access(stream, to, true);
    if (is_locked(from)) {
        stream.put_off.push_back({(const char*)from, bytes, [=] { memcpy(memory<char>((void*)to, bytes), from, bytes); }});
        return SUCCESS;
    }
    stream.make_all();
    memcpy((void*)to, from, bytes);
    return SUCCESS;
}
API Status cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* handle) {
    Held held(lock);
    Stream& stream = stream_of(handle);
    if (!inside(from, bytes)) return INVALID_VALUE;
    stream.next();
    access(stream, from, false);
    if (is_locked(to)) {
        stream.put_off.push_back({(const char*)to, bytes, [=] { memcpy(to, memory<char>((void*)from, bytes), bytes); }});
        return SUCCESS;
    }
    waits(("a copy of " + std::to_string(bytes) + " bytes to pages that are not locked").c_str());
    stream.make_all();
    memcpy(to, (void*)from, bytes);
    return SUCCESS;
}
API Status cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void* handle) {
    Held held(lock);
    Stream& stream = stream_of(handle);
    if (!inside(from, bytes) || !inside(to, bytes)) return INVALID_VALUE;
    stream.make_all();
    stream.next();
    access(stream, from, false);
    access(stream, to, true);
    memcpy((void*)to, (void*)from, bytes);
    return SUCCESS;
}
API Status cuMemsetD8Async(Address at, unsigned char byte, size_t bytes, void* handle) {
    Held held(lock);
    Stream& stream = stream_of(handle);
    if (!inside(at, bytes)) return INVALID_VALUE;
    stream.make_all();
    stream.next();
    access(stream, at, true);
    memset((void*)at, byte, bytes);
    return SUCCESS;
}

// ---- streams and events
API Status cuStreamCreate(void** handle, unsigned) {
    Held held(lock);
    auto stream = new Stream;
    stream->gpu = current_gpu();
    streams.insert(stream);
    return *handle = stream, SUCCESS;
}
// The clocks may still name it: it is never given out again.
API Status cuStreamDestroy_v2(void* handle) {
    Held held(lock);
    return stream_of(handle).make_all(), SUCCESS;
}
API Status cuStreamSynchronize(void* handle) {
    Held held(lock);
    Stream& stream = stream_of(handle);
    waits("for a stream");
    stream.make_all();
    merge(host, stream.clock);
    return SUCCESS;
}
API Status cuCtxSynchronize() {
    Held held(lock);
    for (Stream* stream : streams) cuStreamSynchronize(stream);
    return cuStreamSynchronize(nullptr);
}
API Status cuEventCreate(void** event, unsigned) { return *event = new Event, SUCCESS; }
API Status cuEventElapsedTime_v2(float* milliseconds, void*, void*) { return *milliseconds = 1.0f, SUCCESS; }
API Status cuEventDestroy_v2(void* event) { return delete static_cast<Event*>(event), SUCCESS; }
API Status cuEventRecord(void* event, void* handle) {
    Held held(lock);
    Stream& stream = stream_of(handle);
    merge(stream.clock, host);
    *static_cast<Event*>(event) = Event{stream.clock, &stream, stream.made + stream.put_off.size()};
    return SUCCESS;
}
static void wait_for(const Event& event) {
    if (event.stream) event.stream->make(event.copies);
}
API Status cuStreamWaitEvent(void* handle, void* event, unsigned) {
    Held held(lock);
    wait_for(*static_cast<Event*>(event));
    merge(stream_of(handle).clock, static_cast<Event*>(event)->clock);
    return SUCCESS;
}
API Status cuEventSynchronize(void* event) {
    Held held(lock);
    if (static_cast<Event*>(event)->stream) waits("for an event");
    wait_for(*static_cast<Event*>(event));
    merge(host, static_cast<Event*>(event)->clock);
    return SUCCESS;
}
