// NCCL between ranks that are threads of one process, each with an emulated GPU of its own.
//
// A sum is taken when the last rank has asked for it, in the type of the values and from the last rank to the first: not in the order in which the processor
// adds, as NCCL's is not. The threads wait for it and not the streams; what a stream may read and write it is held to all the same.
#pragma once

#include <condition_variable>
#include <memory>
#include <vector>

#include "streams.h"

struct World {
    size_t size, came = 0;
    // Sums done; what the ranks have given to the next; the sum of the last.
    size_t round = 0, given = 0;
    std::vector<std::vector<char>> parts;
    std::vector<char> sum;
    std::set<int> gpus;
    bool gone = false;
};
struct Rank {
    std::shared_ptr<World> world;
    size_t number;
    int gpu;
};
struct Name {
    char text[128];
};
static std::map<std::string, std::shared_ptr<World>> worlds;
static std::mutex meeting;
static std::condition_variable changed;
enum { NCCL_INVALID_ARGUMENT = 4, NCCL_INVALID_USAGE = 5, NCCL_REMOTE_ERROR = 6 };

API Status ncclGetUniqueId(Name* name) {
    static int names = 0;
    std::lock_guard<std::mutex> held(meeting);
    memset(name, 0, sizeof *name);
    snprintf(name->text, sizeof name->text, "world %d", names++);
    return SUCCESS;
}
API Status ncclCommInitRank(Rank** rank, int size, Name name, int number) {
    std::unique_lock<std::mutex> held(meeting);
    if (size < 1 || number < 0 || number >= size || strncmp(name.text, "world ", 6) != 0) return NCCL_INVALID_ARGUMENT;
    auto& world = worlds[name.text];
    if (!world) world = std::make_shared<World>(World{(size_t)size});
    if (world->size != (size_t)size || world->came == world->size || !world->gpus.insert(current_gpu()).second) return NCCL_INVALID_USAGE;
    *rank = new Rank{world, (size_t)number, current_gpu()};
    world->parts.resize(size);
    world->came += 1;
    changed.notify_all();
    changed.wait(held, [&, world = (*rank)->world] { return world->came == world->size; });
    return SUCCESS;
}
// The ranks that wait for this one learn that it has gone.
API Status ncclCommAbort(Rank* rank) {
    std::lock_guard<std::mutex> held(meeting);
    rank->world->gone = true;
    changed.notify_all();
    return delete rank, SUCCESS;
}
API Status ncclCommGetAsyncError(Rank* rank, Status* state) { return *state = SUCCESS, SUCCESS; }
API const char* ncclGetErrorString(Status status) { return status == NCCL_REMOTE_ERROR ? "a rank has gone" : "emulated NCCL"; }
API const char* ncclGetLastError(Rank*) { return ""; }

template <typename T>
static std::vector<char> sum_of(const std::vector<std::vector<char>>& parts) {
    std::vector<char> sum(parts[0].size(), 0);
    for (size_t r = parts.size(); r-- > 0;) {
        if (parts[r].size() != sum.size()) fail("ranks sum different numbers of values");
        for (size_t i = 0; i < sum.size() / sizeof(T); ++i) ((T*)sum.data())[i] += ((const T*)parts[r].data())[i];
    }
    return sum;
}
API Status ncclAllReduce(const void* from, void* to, size_t count, int type, int operation, Rank* rank, void* handle) {
    enum { F32 = 7, F64 = 8, SUM = 0 };
    if ((type != F32 && type != F64) || operation != SUM) return NCCL_INVALID_ARGUMENT;
    const size_t bytes = count * (type == F32 ? 4 : 8);
    Stream& stream = stream_of(handle);
    std::vector<char> sum;
    {
        Held held(lock);
        if (stream.gpu != rank->gpu) return NCCL_INVALID_USAGE;
        stream.make_all();
        stream.next();
        access(stream, (Address)from, false);
        access(stream, (Address)to, true);
        sum.assign(memory<char>(from, bytes), memory<char>(from, bytes) + bytes);
        memory<char>(to, bytes);
    }
    {
        std::unique_lock<std::mutex> held(meeting);
        World& world = *rank->world;
        if (world.gone) return NCCL_REMOTE_ERROR;
        const size_t round = world.round;
        world.parts[rank->number] = sum;
        if (++world.given == world.size) {
            world.sum = type == F32 ? sum_of<float>(world.parts) : sum_of<double>(world.parts);
            world.given = 0;
            world.round += 1;
            changed.notify_all();
        }
        changed.wait(held, [&] { return world.round != round || world.gone; });
        if (world.round == round) return NCCL_REMOTE_ERROR;
        sum = world.sum;
    }
    Held held(lock);
    memcpy(memory<char>(to, bytes), sum.data(), bytes);
    return SUCCESS;
}
