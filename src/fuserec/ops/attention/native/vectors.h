// Vectors of LANES floats, in the compiler's own vector types, and what is computed on them.
#pragma once

#include "tiles.h"

namespace fuserec {
namespace {

typedef float vec __attribute__((vector_size(4 * LANES), may_alias));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), may_alias));

// Registers: ROWS x COLUMNS sums at a time. AVX-512 has 32 registers of 16 floats, AVX2 has 16 of 8.
#if LANES == 16
constexpr int ROWS = 8, DOT_PANELS = 3, COLUMNS = 2;
#elif LANES == 8
constexpr int ROWS = 4, DOT_PANELS = 1, COLUMNS = 2;
#else
constexpr int ROWS = 2, DOT_PANELS = 1, COLUMNS = 4;
#endif
constexpr int PARTS = PANEL / LANES;  // vectors of a panel's row

constexpr float LOG2E = 1.4426950408889634f, LN2 = 0.6931471805599453f;
constexpr float NOTHING = -__builtin_inff();

inline vec load(const float* p) { return *reinterpret_cast<const loose*>(p); }
inline void store(float* p, vec x) { *reinterpret_cast<loose*>(p) = x; }
inline vec splat(float x) { return x - vec{}; }
inline void clear(float* p, int64_t n) { __builtin_memset(p, 0, n * sizeof(float)); }
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

template <class T, int N>
struct Each {
    T items[N];
    const T* begin() const { return items; }
    const T* end() const { return items + N; }
};

template <class T, class... Ts>
inline Each<T, 1 + sizeof...(Ts)> each(T first, Ts... others) {
    return {{first, others...}};
}

template <int N>
struct Floats {
    typedef float type __attribute__((vector_size(4 * N)));
};

// The numbers of a vector as one, halves first.
template <int N, class Both>
inline float fold(typename Floats<N>::type x, Both both) {
    if constexpr (N == 1) {
        return x[0];
    } else {
        typename Floats<N / 2>::type half[2];
        __builtin_memcpy(half, &x, sizeof x);
        return fold<N / 2>(both(half[0], half[1]), both);
    }
}

inline float sum(vec x) {
    return fold<LANES>(x, [](auto a, auto b) { return a + b; });
}

inline float largest(vec x) {
    return fold<LANES>(x, [](auto a, auto b) { return a > b ? a : b; });
}

// 2^x for x <= 0; NaN stays NaN. The polynomial is the one of least relative error (9e-8) on [-1/2, 1/2]. TINY: down to the
// smallest number there is, 2^-149, as a choice between far-off blocks needs it; otherwise exactly 0 below 2^-126.
template <bool TINY>
inline vec exp2(vec x) {
    constexpr float LOWEST = TINY ? -150.0f : -126.0f;
    constexpr int LIFT = TINY ? 64 : 0;
    const vec kept = x < LOWEST ? splat(LOWEST) : x;
    const vec shifted = kept + 12582912.0f;  // 1.5 * 2^23: the whole part lands in the last bits
    const vec rest = kept - (shifted - 12582912.0f);
    vec p = splat(0.0013264726898932267f);
    p = p * rest + 0.009671512660590484f;
    p = p * rest + 0.0555073374424459f;
    p = p * rest + 0.24022242084918566f;
    p = p * rest + 0.6931469775984703f;
    p = p * rest + 1.0f;
    const ivec power = (reinterpret_cast<const ivec&>(shifted) + (127 + LIFT)) << 23;
    p = p * reinterpret_cast<const vec&>(power);
    if constexpr (TINY) p = p * 0x1p-64f;
    return x < LOWEST ? vec{} : p;
}

}  // namespace
}  // namespace fuserec
