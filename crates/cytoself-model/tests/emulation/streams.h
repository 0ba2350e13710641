// Memory, streams and events.
//
// What a stream has to do is done at once, but for copies from and to page-locked memory, which a GPU makes beside everything else: they
// are put off until something has to wait for them. Who writes the pages again too early, or reads what has not arrived, gets the wrong
// values.
//
// And of each piece of memory it is known which streams wrote and read it, and of each stream, which work of the others it has waited
// for: two streams that come to the same memory, one of them to write, without one having waited for the other, are found out, whatever
// the values. Nor may a stream of one GPU come to the memory of another.
//
// A stream that is captured does nothing: what it is told is kept and done at every launch of the graph. Memory that is reserved meanwhile
// is the graph's: it exists from its reservation to its return within a launch, and holds rubbish before and after. What a driver would
// refuse in a capture, or keep although it may be gone, is found out.
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
#include <utility>
#include <vector>

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
struct Graph;
struct Stream {
    // -1: of any.
    int gpu = -1;
    Known clock;
    // While it is captured.
    Graph* graph = nullptr;
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
    Graph* owner = nullptr;
    bool exists = true;
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
    if (!piece->exists) fail("memory of a graph is used outside of its life");
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
    pieces[*at] = Region{bytes, gpu, {}, {}, nullptr, true};
    return true;
}
static void check_guard(Address at, size_t bytes) {
    for (size_t i = 0; i < GUARD; ++i)
        if (reinterpret_cast<char*>(at)[bytes + i] != (char)0xa5) fail("something wrote past the end of " + std::to_string(bytes) + " bytes");
}
static bool release(Address at) {
    auto piece = pieces.find(at);
    if (piece == pieces.end()) return false;
    check_guard(at, piece->second.bytes);
    pieces.erase(piece);
    free(reinterpret_cast<void*>(at));
    return true;
}

// ---- graphs
struct Graph {
    std::vector<std::function<void()>> work;
    std::set<Address> memory, not_returned;
};
// Keeps a piece of work for the graph that the stream is captured in; false where there is none.
static bool kept(Stream& stream, std::function<void()> work) {
    if (stream.graph) stream.graph->work.push_back(std::move(work));
    return stream.graph;
}
static void not_in_a_capture(const Stream& stream, const char* what) {
    if (stream.graph) fail(std::string(what) + " in a capture");
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
    if (Graph* graph = stream.graph) {
        graph->memory.insert(*at), graph->not_returned.insert(*at);
        pieces[*at].owner = graph, pieces[*at].exists = false;
        return kept(stream, [=, at = *at, &stream] {
            pieces[at].exists = true;
            memset((void*)at, 0xff, bytes);
            stream.next();
            access(stream, at, true);
        }), SUCCESS;
    }
    stream.next();
    access(stream, *at, true);
    return SUCCESS;
}
API Status cuMemFreeAsync(Address at, void* handle) {
    Held held(lock);
    Stream& stream = stream_of(handle);
    Region* piece = piece_of(at);
    if (piece && piece->owner != stream.graph)
        fail(stream.graph ? "a capture gives back memory that it has not reserved" : "memory of a graph is given back outside of it");
    if (stream.graph) {
        if (!piece || !stream.graph->not_returned.erase(at)) return INVALID_VALUE;
        return kept(stream, [=, &stream] {
            stream.make_all();
            stream.next();
            access(stream, at, true);
            check_guard(at, piece->bytes);
            memset((void*)at, 0xff, piece->bytes);
            piece->exists = false;
        }), SUCCESS;
    }
    stream.make_all();
    stream.next();
    access(stream, at, true);
    return release(at) ? SUCCESS : INVALID_VALUE;
}
API Status cuDeviceGetDefaultMemPool(void** pool, int) { return *pool = &pieces, SUCCESS; }
API Status cuMemPoolSetAttribute(void*, int, void*) { return SUCCESS; }
API Status cuMemPoolTrimTo(void*, size_t) { return SUCCESS; }
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
    not_in_a_capture(stream, "memory of the host is copied, which may be gone at a launch,");
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
    not_in_a_capture(stream, "something is read");
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
    if (kept(stream, [=] { cuMemcpyDtoDAsync_v2(to, from, bytes, handle); })) return SUCCESS;
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
    if (kept(stream, [=] { cuMemsetD8Async(at, byte, bytes, handle); })) return SUCCESS;
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
    not_in_a_capture(stream, "the host waits");
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
    not_in_a_capture(stream, "an event is recorded");
    merge(stream.clock, host);
    *static_cast<Event*>(event) = Event{stream.clock, &stream, stream.made + stream.put_off.size()};
    return SUCCESS;
}
static void wait_for(const Event& event) {
    if (event.stream) event.stream->make(event.copies);
}
API Status cuStreamWaitEvent(void* handle, void* event, unsigned) {
    Held held(lock);
    not_in_a_capture(stream_of(handle), "a stream waits for an event of before");
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

// ---- captures
enum { CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };

API Status cuStreamBeginCapture_v2(void* handle, int) {
    Held held(lock);
    if (!handle || stream_of(handle).graph) return CAPTURE_UNSUPPORTED;
    return stream_of(handle).graph = new Graph, SUCCESS;
}
API Status cuGraphDestroy(Graph* graph) {
    Held held(lock);
    for (Address at : graph->memory) release(at);
    return delete graph, SUCCESS;
}
// With CYTOSELF_EMULATION_NO_GRAPHS every capture fails.
API Status cuStreamEndCapture(void* handle, Graph** graph) {
    Held held(lock);
    static const bool refused = getenv("CYTOSELF_EMULATION_NO_GRAPHS");
    Stream& stream = stream_of(handle);
    *graph = std::exchange(stream.graph, nullptr);
    if (!*graph) return INVALID_VALUE;
    if (!(*graph)->not_returned.empty()) fail("a graph keeps memory that it reserves, and could be launched only once");
    if (refused) return cuGraphDestroy(std::exchange(*graph, nullptr)), CAPTURE_INVALIDATED;
    return SUCCESS;
}
API Status cuStreamIsCapturing(void* handle, int* status) {
    Held held(lock);
    return *status = stream_of(handle).graph ? 1 : 0, SUCCESS;
}
API Status cuGraphInstantiateWithFlags(Graph** launchable, Graph* graph, unsigned long long) { return *launchable = graph, SUCCESS; }
API Status cuGraphExecDestroy(Graph*) { return SUCCESS; }
API Status cuGraphLaunch(Graph* graph, void* handle) {
    Held held(lock);
    not_in_a_capture(stream_of(handle), "a graph is launched");
    const size_t before = launches;
    for (auto& work : graph->work) work();
    return launches = before + 1, SUCCESS;
}
