// The three products that do all the work, each on a tile of registers, and the softmax of a row between them.
#pragma once

#include "lists.h"

namespace fuserec {
namespace {

// scores[r][i * 16 + lane] = q[r] . key, for R rows and N panels of the list.
template <int R, int N>
inline void dot(const float* q, int64_t width, int64_t dim, const float* keys, const int32_t* panel, float* scores, int64_t ld) {
    constexpr int V = N * PARTS;
    vec sums[R][V] = {};
    const float* columns[N];
    for (int n = 0; n < N; ++n) columns[n] = keys + panel[n] * (PANEL * dim);
    for (int64_t d = 0; d < dim; ++d) {
        vec key[V];
        for (int c = 0; c < V; ++c) key[c] = load(columns[c / PARTS] + d * PANEL + c % PARTS * LANES);
        for (int r = 0; r < R; ++r) {
            const vec one = splat(q[r * width + d]);
            for (int c = 0; c < V; ++c) sums[r][c] += one * key[c];
        }
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < V; ++c) store(scores + r * ld + c * LANES, sums[r][c]);
}

template <int N>
inline void dot_rows(int64_t rows, const float* q, int64_t width, int64_t dim, const float* keys, const int32_t* panel, float* scores, int64_t ld) {
    int64_t r = 0;
    for (; r + ROWS <= rows; r += ROWS) dot<ROWS, N>(q + r * width, width, dim, keys, panel, scores + r * ld, ld);
    if constexpr (ROWS > 4)
        for (; r + 4 <= rows; r += 4) dot<4, N>(q + r * width, width, dim, keys, panel, scores + r * ld, ld);
    for (; r < rows; ++r) dot<1, N>(q + r * width, width, dim, keys, panel, scores + r * ld, ld);
}

// Scores of a tile; panels outside, so that those at hand stay in the nearest cache for all strips.
void score(const Tile& tile, const List& list, const float* q, int64_t width, int64_t dim, const float* keys, float* scores, int64_t ld) {
    for (int64_t at = 0; at < list.size; at += DOT_PANELS) {
        for (int64_t s = 0; s < tile.strips; ++s) {
            const int64_t begin = most(at, tile.low[s]), end = least(at + DOT_PANELS, tile.high[s]), r = tile.begin(s);
            const int64_t rows = tile.end(s) - r;
            const float* q_s = q + r * width;
            float* to = scores + r * ld + begin * PANEL;
            const int32_t* panel = list.panel + begin;
            if (end - begin == 1) dot_rows<1>(rows, q_s, width, dim, keys, panel, to, ld);
            if constexpr (DOT_PANELS > 1) {
                if (end - begin == 2) dot_rows<2>(rows, q_s, width, dim, keys, panel, to, ld);
                if (end - begin == 3) dot_rows<3>(rows, q_s, width, dim, keys, panel, to, ld);
            }
        }
    }
}

// out[r] += scale[r] * sum over the panels [begin, end) of weights[r][key] * values[key], for R rows and N vectors of a row.
template <int R, int N>
inline void weigh(const List& list, int64_t begin, int64_t end, const float* weights, int64_t ld, const float* values, int64_t stride,
                  const float* scale, float* out, int64_t width) {
    vec sums[R][N] = {};
    for (int64_t i = begin; i < end; ++i) {
        const float* value = values + list.panel[i] * (PANEL * stride);
        const float* weight = weights + i * PANEL;
        for (int64_t key = 0; key < list.count[i]; ++key, value += stride, ++weight) {
            vec x[N];
            for (int c = 0; c < N; ++c) x[c] = load(value + c * LANES);
            for (int r = 0; r < R; ++r) {
                const vec one = splat(weight[r * ld]);
                for (int c = 0; c < N; ++c) sums[r][c] += one * x[c];
            }
        }
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < N; ++c) store(out + r * width + c * LANES, load(out + r * width + c * LANES) + scale[r] * sums[r][c]);
}

template <int N>
inline void weigh_rows(const Tile& tile, int64_t s, const List& list, const float* weights, int64_t ld, const float* values, int64_t stride,
                       const float* scale, float* out, int64_t width) {
    const int64_t low = tile.low[s], high = tile.high[s], end = tile.end(s);
    int64_t r = tile.begin(s);
    for (; r + ROWS <= end; r += ROWS) weigh<ROWS, N>(list, low, high, weights + r * ld, ld, values, stride, scale + r, out + r * width, width);
    for (; r < end; ++r) weigh<1, N>(list, low, high, weights + r * ld, ld, values, stride, scale + r, out + r * width, width);
}

void weigh_all(const Tile& tile, const List& list, const float* weights, int64_t ld, const Rows& values, const float* scale, float* out, int64_t width) {
    for (int64_t s = 0; s < tile.strips; ++s) {
        int64_t c = 0;
        for (; c + COLUMNS * LANES <= width; c += COLUMNS * LANES) weigh_rows<COLUMNS>(tile, s, list, weights, ld, values.data + c, values.stride, scale, out + c, width);
        for (; c < width; c += LANES) weigh_rows<1>(tile, s, list, weights, ld, values.data + c, values.stride, scale, out + c, width);
    }
}

// keys[k] += sum over rows of weights[r][k] * x[r], for K keys and N vectors of a row.
template <int K, int N>
inline void add_outer(int64_t rows, const float* weights, int64_t ld, const float* x, int64_t width, float* keys, int64_t stride) {
    vec sums[K][N];
    for (int k = 0; k < K; ++k)
        for (int c = 0; c < N; ++c) sums[k][c] = load(keys + k * stride + c * LANES);
    for (int64_t r = 0; r < rows; ++r, weights += ld, x += width) {
        vec row[N];
        for (int c = 0; c < N; ++c) row[c] = load(x + c * LANES);
        for (int k = 0; k < K; ++k) {
            const vec one = splat(weights[k]);
            for (int c = 0; c < N; ++c) sums[k][c] += one * row[c];
        }
    }
    for (int k = 0; k < K; ++k)
        for (int c = 0; c < N; ++c) store(keys + k * stride + c * LANES, sums[k][c]);
}

template <int K>
inline void add_outer_columns(int64_t rows, const float* weights, int64_t ld, const float* x, int64_t width, float* keys, int64_t stride) {
    int64_t c = 0;
    for (; c + COLUMNS * LANES <= width; c += COLUMNS * LANES) add_outer<K, COLUMNS>(rows, weights, ld, x + c, width, keys + c, stride);
    for (; c < width; c += LANES) add_outer<K, 1>(rows, weights, ld, x + c, width, keys + c, stride);
}

void add_outer_all(const Tile& tile, const List& list, const float* weights, int64_t ld, const float* x, int64_t width, const Rows& keys) {
    for (int64_t i = 0; i < list.size; ++i) {
        int64_t begin = tile.rows, end = 0, key = 0;
        for (int64_t s = 0; s < tile.strips; ++s)
            if (tile.low[s] <= i && i < tile.high[s]) begin = least(begin, tile.begin(s)), end = most(end, tile.end(s));
        const float* w = weights + begin * ld + i * PANEL;
        const float* x_i = x + begin * width;
        const int64_t first = list.panel[i] * PANEL;
        for (; key + ROWS <= list.count[i]; key += ROWS) add_outer_columns<ROWS>(end - begin, w + key, ld, x_i, width, keys[first + key], keys.stride);
        for (; key < list.count[i]; ++key) add_outer_columns<1>(end - begin, w + key, ld, x_i, width, keys[first + key], keys.stride);
    }
}

// What a row may not see gets minus infinity: in the panels of [low, high) that not all rows of the tile see as a whole.
inline void mask(float* scores, const Tile& tile, const List& list, int64_t r, int64_t low, int64_t high) {
    ivec lane;
    for (int i = 0; i < LANES; ++i) lane[i] = i;
    for (int64_t p = 0; p < list.partials; ++p) {
        const int64_t i = list.partial[p];
        if (i < low || i >= high) continue;
        const int32_t begin = static_cast<int32_t>(most(0, tile.from[r] - list.first[i]));
        const int32_t end = static_cast<int32_t>(least(tile.to[r] - list.first[i], list.count[i]));
        float* at = scores + i * PANEL;
        for (int c = 0; c < PARTS; ++c) {
            const ivec key = lane + c * LANES;
            store(at + c * LANES, ((key >= begin) & (key < end)) ? load(at + c * LANES) : splat(NOTHING));
        }
    }
}

inline void add(float* to, const float* from, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) store(to + i, load(to + i) + load(from + i));
}

inline float top(const float* scores, int64_t begin, int64_t end) {
    vec best = splat(NOTHING);
    for (int64_t i = begin; i < end; i += LANES) {
        const vec x = load(scores + i);
        best = x > best ? x : best;
    }
    return largest(best);
}

// scores become 2^(scores - best); gives their sum.
template <bool TINY>
inline float exponentiate(float* scores, int64_t begin, int64_t end, float best) {
    vec total = {};
    for (int64_t i = begin; i < end; i += LANES) {
        const vec x = exp2<TINY>(load(scores + i) - best);
        store(scores + i, x);
        total += x;
    }
    return sum(total);
}

}  // namespace
}  // namespace fuserec
