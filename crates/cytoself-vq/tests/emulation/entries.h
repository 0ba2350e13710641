// Kernels by name, called as the driver calls them: with an array of pointers to the arguments.
#pragma once

#include <map>
#include <string>
#include <type_traits>
#include <utility>

#include "emulator.h"

// What an argument is; pointers to what is only read apart from the others.
enum class Kind : uint32_t { U32, I32, U64, F32, F64, READ, WRITTEN };

template <typename A>
static Kind kind_of() {
    if (std::is_pointer_v<A>) return std::is_const_v<std::remove_pointer_t<A>> ? Kind::READ : Kind::WRITTEN;
    if (std::is_same_v<A, float>) return Kind::F32;
    if (std::is_same_v<A, double>) return Kind::F64;
    if (sizeof(A) == 8) return Kind::U64;
    return std::is_signed_v<A> ? Kind::I32 : Kind::U32;
}

struct Entry {
    std::function<void(void**)> call;
    std::vector<Kind> arguments;
    std::vector<size_t> sizes;
};

template <typename... A, size_t... I>
static void unpack(void (*kernel)(A...), void** p, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<A>*>(p[I])...);
}
template <typename... A>
static Entry entry_of(void (*kernel)(A...)) {
    return {[kernel](void** p) { unpack(kernel, p, std::index_sequence_for<A...>()); }, {kind_of<std::remove_reference_t<A>>()...}, {sizeof(std::remove_reference_t<A>)...}};
}
#define ENTRY(name) {#name, entry_of(name)}
