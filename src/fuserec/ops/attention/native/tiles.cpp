// The arithmetic of sparse attention for one head of one history, written for vectors of LANES floats.
//
// Three products do all the work, each on a tile of registers:
//     dot         scores of rows and panels of keys       S = Q K^T, and dP = dO V^T
//     weigh       rows from weights and panels of values  O = P V,   and dQ = dS K
//     add_outer   rows of keys from weights and rows      dV = P^T dO, and dK = dS^T Q
// A tile's scores over all panels that it sees are kept whole (in the cache, for the windows and choices that this is for), so the
// softmax is the plain one. Backward makes them again; with P and dP at hand the sum of P dP over a row is output times upstream gradient, which is also the gate's gradient.
//
// Nothing of the standard library is used here: a template of it, compiled for AVX-512, could be linked into everything.

#include "tiles.h"

#ifndef LANES
#define LANES 4
#define NAME plain
#endif

#define JOIN(a, b) a##b
#define TABLE(name) JOIN(name, _tiles)
#define TEXT(x) #x
#define QUOTE(x) TEXT(x)

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

// The panels that a tile sees, in one order for all its rows.
struct List {
    int32_t *panel, *first, *count;  // where it is stored, the position of its first key, how many keys it has
    int32_t* partial;                // those of which some row sees but a part
    int64_t size, partials;

    void add(int64_t at, int64_t position, int64_t keys) {
        panel[size] = static_cast<int32_t>(at);
        first[size] = static_cast<int32_t>(position);
        count[size] = static_cast<int32_t>(keys);
        ++size;
    }
};

// Queries: row r sees the positions [from[r], to[r]), which never fall from row to row; the rows of strip s see nothing but the
// panels [low[s], high[s]) of the list.
struct Tile {
    int64_t rows, strips;
    int64_t from[TILE], to[TILE];
    int64_t low[TILE / STRIP], high[TILE / STRIP];

    int64_t begin(int64_t strip) const { return strip * STRIP; }
    int64_t end(int64_t strip) const { return least(rows, (strip + 1) * STRIP); }
};

// Asks for the rows of the next tile: the processor does not see ahead from one burst of rows to the next.
inline void fetch(const Rows& rows, int64_t begin, int64_t end, int64_t dim) {
    for (int64_t t = begin; t < end; ++t)
        for (int64_t d = 0; d < dim; d += 16) __builtin_prefetch(rows[t] + d, 0, 2);
}

// ---------------------------------------------------------------------------------------------------------- products

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

// ------------------------------------------------------------------------------------------------------------ softmax

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

// ------------------------------------------------------------------------------------------------------------ storage

// Pieces of one allocation, each of whole cache lines. Without memory it only counts.
struct Scratch {
    float* memory;
    int64_t used = 0;

    float* floats(int64_t n) {
        float* piece = memory ? memory + used : nullptr;
        used += (n + 15) / 16 * 16;
        return piece;
    }
    List list(int64_t n) {
        const auto piece = [&] { return reinterpret_cast<int32_t*>(floats(n)); };
        int32_t *panel = piece(), *first = piece(), *count = piece(), *partial = piece();
        return {panel, first, count, partial, 0, 0};
    }
};

// Where the rows of a history are stored: block by block in whole panels.
inline int64_t place(const Shape& shape, int64_t position) {
    return position / shape.block * shape.block_panels() * PANEL + position % shape.block;
}

template <class Copy>
inline void for_blocks(const Shape& shape, int64_t length, Copy copy) {
    for (int64_t begin = 0; begin < length; begin += shape.block) copy(begin, least(length, begin + shape.block), place(shape, begin));
}

void copy_rows(const Rows& rows, int64_t begin, int64_t end, int64_t dim, int64_t width, float scale, float* to) {
    for (int64_t t = begin; t < end; ++t, to += width) {
        const float* row = rows[t];
        for (int64_t d = 0; d < dim; ++d) to[d] = scale * row[d];
        for (int64_t d = dim; d < width; ++d) to[d] = 0;
    }
}

// Rows [begin, end) as columns of the panels from column `at` on.
void transpose_rows(const Rows& rows, int64_t begin, int64_t end, int64_t dim, int64_t at, float* panels) {
    for (int64_t t = begin; t < end; ++t, ++at) {
        const float* row = rows[t];
        float* to = panels + at / PANEL * PANEL * dim + at % PANEL;
        for (int64_t d = 0; d < dim; ++d) to[d * PANEL] = row[d];
    }
}

// Where every block is whole panels and every row whole vectors, a tensor's own rows are already as they are stored.
inline bool in_place(const Shape& shape) { return shape.block % PANEL == 0 && shape.dim % PANEL == 0; }

void clear_rows(const Rows& rows, int64_t begin, int64_t end, int64_t dim) {
    if (rows.data)
        for (int64_t t = begin; t < end; ++t) clear(rows[t], dim);
}

// A history's rows in panels: its own, or copied to `to`.
Rows stored(const Shape& shape, const Rows& rows, int64_t length, float* to) {
    if (in_place(shape)) return rows;
    const int64_t width = shape.width();
    for_blocks(shape, length, [&](int64_t begin, int64_t end, int64_t at) { copy_rows(rows, begin, end, shape.dim, width, 1, to + at * width); });
    return {to, width};
}

// Zeros to add a gradient's rows to: in the gradient itself where rows are stored in place, otherwise at `to`.
Rows sums(const Shape& shape, const Rows& gradient, int64_t length, float* to) {
    if (in_place(shape)) {
        clear_rows(gradient, 0, length, shape.dim);
        return gradient;
    }
    clear(to, shape.key_panels(length) * PANEL * shape.width());
    return {to, shape.width()};
}

// A history's rows in transposed panels; what no row fills is 0.
const float* transposed(const Shape& shape, const Rows& rows, int64_t length, float* to) {
    if (shape.block % PANEL || length % shape.block) clear(to, shape.key_panels(length) * PANEL * shape.dim);
    for_blocks(shape, length, [&](int64_t begin, int64_t end, int64_t at) { transpose_rows(rows, begin, end, shape.dim, at, to); });
    return to;
}

inline int64_t summary_floats(const Shape& shape, int64_t length) { return shape.summary_panels(length) * PANEL * shape.width(); }

// The summaries of all blocks but the last, which nobody sees, as rows: given, or the mean of each block. What no block fills is 0.
Rows summary_rows(const Shape& shape, const Rows& given, const Rows& rows, int64_t length, float* to) {
    const int64_t width = shape.width(), seen = shape.blocks(length) - 1;
    clear(to, summary_floats(shape, length));
    if (given.data) copy_rows(given, 0, seen, shape.dim, width, 1, to);
    for (int64_t c = 0; c < seen && !given.data; ++c) {
        float* mean = to + c * width;
        for (int64_t t = c * shape.block; t < (c + 1) * shape.block; ++t)
            for (int64_t d = 0; d < shape.dim; ++d) mean[d] += rows[t][d];
        for (int64_t d = 0; d < shape.dim; ++d) mean[d] /= static_cast<float>(shape.block);
    }
    return {to, width};
}

const float* transposed_summaries(const Shape& shape, const Rows& rows, int64_t length, float* to) {
    transpose_rows(rows, 0, shape.summary_panels(length) * PANEL, shape.dim, 0, to);
    return to;
}

// Biases in the order in which a list of summaries needs them: element c of of(own) is that of block c for queries in block `own`.
struct Bias {
    float* values;
    int64_t columns;

    float* of(int64_t own) const { return values ? values + columns - own : nullptr; }
};

// A list of summaries goes on to the end of a panel, and for a strip of groups to that of its last one.
inline int64_t bias_floats(const Shape& shape) { return shape.bias_columns + PANEL + STRIP; }

Bias reversed(const Shape& shape, const float* bias, float* to) {
    if (!bias) return {};
    clear(to, bias_floats(shape));
    for (int64_t m = 0; m < shape.bias_columns; ++m) to[shape.bias_columns - 1 - m] = LOG2E * bias[m];
    return {to, shape.bias_columns};
}

// -------------------------------------------------------------------------------------------------------- who sees what

// With the rows and the list known: every strip sees all, and the panels are found that some row sees but a part of.
void finish(Tile& tile, List& list) {
    tile.strips = (tile.rows + STRIP - 1) / STRIP;
    for (int64_t s = 0; s < tile.strips; ++s) tile.low[s] = 0, tile.high[s] = list.size;
    list.partials = 0;
    for (int64_t i = 0; i < list.size; ++i)
        if (list.count[i] < PANEL || list.first[i] < tile.from[tile.rows - 1] || list.first[i] + PANEL > tile.to[0])
            list.partial[list.partials++] = static_cast<int32_t>(i);
}

// Panels of the positions [from, to) of one block.
void add_block(const Shape& shape, int64_t block, int64_t from, int64_t to, int64_t length, List& list) {
    const int64_t start = block * shape.block, end = least(length, start + shape.block);
    for (int64_t p = 0; p < shape.block_panels(); ++p) {
        const int64_t first = start + p * PANEL, behind = least(end, first + PANEL);
        if (first < to && from < behind) list.add(block * shape.block_panels() + p, first, behind - first);
    }
}

// Strips see the panels from the one with their first row's first position to the one with their last row's last.
void narrow(Tile& tile, List& list) {
    finish(tile, list);
    for (int64_t s = 0; s < tile.strips; ++s) {
        while (list.first[tile.low[s]] + list.count[tile.low[s]] <= tile.from[tile.begin(s)]) ++tile.low[s];
        while (list.first[tile.high[s] - 1] >= tile.to[tile.end(s) - 1]) --tile.high[s];
    }
}

void see_window(const Shape& shape, int64_t length, int64_t t, int64_t rows, Tile& tile, List& list) {
    tile.rows = rows;
    for (int64_t r = 0; r < rows; ++r) tile.from[r] = most(0, t + r - shape.window + 1), tile.to[r] = t + r + 1;
    list.size = 0;
    for (int64_t block = tile.from[0] / shape.block; block <= t / shape.block; ++block) add_block(shape, block, tile.from[0], t + rows, length, list);
    narrow(tile, list);
}

// Row r is query t + r * step.
void see_summaries(const Shape& shape, int64_t t, int64_t rows, int64_t step, Tile& tile, List& list) {
    tile.rows = rows;
    for (int64_t r = 0; r < rows; ++r) tile.from[r] = 0, tile.to[r] = (t + r * step) / shape.block;
    list.size = 0;
    for (int64_t first = 0; first < tile.to[rows - 1]; first += PANEL) list.add(first / PANEL, first, PANEL);
    finish(tile, list);
}

void see_selected(const Shape& shape, int64_t length, const int32_t* choice, int64_t t, int64_t rows, Tile& tile, List& list) {
    tile.rows = rows;
    for (int64_t r = 0; r < rows; ++r) tile.from[r] = 0, tile.to[r] = t + r + 1;
    list.size = 0;
    for (int64_t n = 0; n < shape.selected && choice[n] >= 0; ++n) add_block(shape, choice[n], 0, t, length, list);
    add_block(shape, t / shape.block, 0, t + rows, length, list);
    narrow(tile, list);  // of the own block; the chosen ones are seen whole
}

// Floats from row to row of scores: a row more than whole panels, so that rows do not meet in one set of the cache.
inline int64_t leading(const List& list) { return (list.size + 1) * PANEL; }

int64_t longest_list(const Shape& shape, int64_t length) {
    const int64_t window = ((shape.window + TILE) / shape.block + 3) * shape.block_panels();
    const int64_t selected = (shape.selected + 1) * shape.block_panels();
    return most(shape.summary_panels(length), least(most(window, selected), shape.key_panels(length))) + 1;
}

// Calls act(t, rows) for every tile of the history.
template <class Act>
inline void for_tiles(const Shape& shape, int64_t length, Act act) {
    for (int64_t begin = 0; begin < length; begin += shape.block)
        for (int64_t end = least(length, begin + shape.block), t = begin; t < end; t += TILE) act(t, least(TILE, end - t));
}

// Calls act(t, rows) for the part of every group in the rows [t, t + rows).
template <class Act>
inline void for_groups(const Shape& shape, int64_t t, int64_t rows, Act act) {
    for (int64_t end = t + rows; t < end;) {
        const int64_t next = least(end, (t / shape.group + 1) * shape.group);
        act(t, next - t);
        t = next;
    }
}

// Here the branches part: calls act(branch, t) for each, with the tile's rows from query t on and the list of what they see.
template <class Act>
inline void for_branches(const Shape& shape, const Head& head, int64_t t, int64_t rows, Tile& tile, List& list, Act act) {
    if (shape.has[WINDOW]) {
        see_window(shape, head.length, t, rows, tile, list);
        act(WINDOW, t);
    }
    if (shape.has[BLOCK] && t >= shape.block) {
        see_summaries(shape, t, rows, 1, tile, list);
        act(BLOCK, t);
    }
    if (shape.has[SELECTED])
        for_groups(shape, t, rows, [&](int64_t at, int64_t part) {
            see_selected(shape, head.length, head.choice + at / shape.group * shape.selected, at, part, tile, list);
            act(SELECTED, at);
        });
}

inline float query_scale(const Shape& shape) { return LOG2E / __builtin_sqrtf(static_cast<float>(shape.dim)); }

// ------------------------------------------------------------------------------------------------------------- choice

void summarise(const Shape& shape, const Head& head, float* memory) {
    const Rows rows = summary_rows(shape, head.block_key, head.k, head.length, memory);
    transposed_summaries(shape, rows, head.length, head.summaries);
}

// The `selected` largest of scores [0, n), equal ones by position, then in order of position; -1 behind the last.
void pick(const float* scores, int64_t n, int64_t selected, int32_t* choice, float* kept) {
    int64_t size = 0;
    for (int64_t c = 0; c < n; ++c) {
        if (size == selected && !(size && scores[c] > kept[size - 1])) continue;
        int64_t at = size < selected ? size++ : size - 1;
        for (; at > 0 && scores[c] > kept[at - 1]; --at) kept[at] = kept[at - 1], choice[at] = choice[at - 1];
        kept[at] = scores[c], choice[at] = static_cast<int32_t>(c);
    }
    for (int64_t i = 1; i < size; ++i)
        for (int64_t j = i; j > 0 && choice[j] < choice[j - 1]; --j) {
            const int32_t one = choice[j];
            choice[j] = choice[j - 1], choice[j - 1] = one;
        }
    for (int64_t i = size; i < selected; ++i) choice[i] = -1;
}

struct ChoiceRoom {
    Scratch scratch;
    List list;
    float *q, *bias, *scores, *totals, *kept;

    ChoiceRoom(const Shape& shape, int64_t length, float* memory) : scratch{memory} {
        const int64_t panels = shape.summary_panels(length) + 1;
        list = scratch.list(panels);
        q = scratch.floats(STRIP * shape.width());
        bias = scratch.floats(bias_floats(shape));
        scores = scratch.floats(STRIP * panels * PANEL);
        totals = scratch.floats(STRIP * panels * PANEL);
        kept = scratch.floats(shape.selected);
    }
};

void choose(const Shape& shape, const Head* heads, int64_t num_heads, int64_t begin, int64_t end, float* memory) {
    ChoiceRoom room(shape, heads->length, memory);
    List& list = room.list;
    const int64_t width = shape.width();
    for (int64_t g = begin; g < end; g += STRIP) {
        const int64_t rows = least(STRIP, end - g);
        Tile tile;
        see_summaries(shape, g * shape.group, rows, shape.group, tile, list);
        const int64_t ld = leading(list);
        clear(room.totals, rows * ld);
        for (int64_t h = 0; h < num_heads; ++h) {
            const Head& head = heads[h];
            const Rows& from = head.block_query.data ? head.block_query : head.q;
            copy_rows({from[g * shape.group], from.stride * shape.group}, 0, rows, shape.dim, width, query_scale(shape), room.q);
            const Bias bias = reversed(shape, head.bias, room.bias);
            score(tile, list, room.q, width, shape.dim, head.summaries, room.scores, ld);
            for (int64_t r = 0; r < rows; ++r) {
                if (tile.to[r] == 0) continue;
                float *row = room.scores + r * ld, *total = room.totals + r * ld;
                if (bias.values) add(row, bias.of(tile.to[r]), list.size * PANEL);
                mask(row, tile, list, r, 0, list.size);
                const float share = 1 / exponentiate<true>(row, 0, list.size * PANEL, top(row, 0, list.size * PANEL));
                for (int64_t c = 0; c < list.size * PANEL; c += LANES) store(total + c, load(total + c) + share * load(row + c));
            }
        }
        for (int64_t r = 0; r < rows; ++r) pick(room.totals + r * ld, tile.to[r], shape.selected, heads->choice + (g + r) * shape.selected, room.kept);
    }
}

// ------------------------------------------------------------------------------------------------------------ forward

inline float gate(const Head& head, int64_t t, int branch) { return head.gates.data ? head.gates[t][branch] : 1.0f; }

// What a branch reads, as rows and as transposed panels, and where the gradients of that are summed.
struct Source {
    const float *transposed_keys, *transposed_values;
    Rows keys, values, d_keys, d_values;
    Bias bias, d_bias;
};

// One branch of one tile, added to out.
void attend(const Shape& shape, const Head& head, int branch, int64_t t, const Tile& tile, const List& list, const Source& source, const float* q,
            float* scores, float* out) {
    const int64_t width = shape.width(), ld = leading(list);
    const float* bias = source.bias.of(t / shape.block);
    float scale[TILE];
    score(tile, list, q, width, shape.dim, source.transposed_keys, scores, ld);
    for (int64_t s = 0; s < tile.strips; ++s)
        for (int64_t r = tile.begin(s); r < tile.end(s); ++r) {
            float *row = scores + r * ld, *softmax = head.softmax[t + r] + 2 * branch;
            if (bias) add(row, bias, list.size * PANEL);
            mask(row, tile, list, r, tile.low[s], tile.high[s]);
            softmax[0] = top(row, tile.low[s] * PANEL, tile.high[s] * PANEL);
            softmax[1] = 1 / exponentiate<false>(row, tile.low[s] * PANEL, tile.high[s] * PANEL, softmax[0]);
            scale[r] = softmax[1] * gate(head, t + r, branch);
        }
    weigh_all(tile, list, scores, ld, source.values, scale, out, width);
}

struct ForwardRoom {
    Scratch scratch;
    List list;
    float *keys, *values, *summaries, *bias, *scores, *q, *block_q, *out;

    ForwardRoom(const Shape& shape, int64_t length, float* memory) : scratch{memory} {
        const int64_t panels = longest_list(shape, length), tile = TILE * shape.width();
        list = scratch.list(panels);
        keys = scratch.floats(shape.key_panels(length) * PANEL * shape.dim);
        values = in_place(shape) ? nullptr : scratch.floats(shape.key_panels(length) * PANEL * shape.width());
        summaries = scratch.floats(summary_floats(shape, length));
        bias = scratch.floats(bias_floats(shape));
        scores = scratch.floats(TILE * (panels + 1) * PANEL);
        q = scratch.floats(tile), block_q = scratch.floats(tile), out = scratch.floats(tile);
    }
};

void forward(const Shape& shape, const Head& head, float* memory) {
    const int64_t width = shape.width(), length = head.length;
    ForwardRoom room(shape, length, memory);
    Source events = {}, summaries = {};
    if (shape.has[WINDOW] || shape.has[SELECTED]) {
        events.transposed_keys = transposed(shape, head.k, length, room.keys);
        events.values = stored(shape, head.v, length, room.values);
    }
    if (shape.has[BLOCK]) {
        summaries.transposed_keys = head.summaries;
        summaries.values = summary_rows(shape, head.block_value, head.v, length, room.summaries);
        summaries.bias = reversed(shape, head.bias, room.bias);
    }
    const float* block_q = head.block_query.data ? room.block_q : room.q;
    Tile tile;
    for_tiles(shape, length, [&](int64_t t, int64_t rows) {
        copy_rows(head.q, t, t + rows, shape.dim, width, query_scale(shape), room.q);
        fetch(head.q, t + rows, least(length, t + rows + TILE), shape.dim);
        if (head.block_query.data) copy_rows(head.block_query, t, t + rows, shape.dim, width, query_scale(shape), room.block_q);
        clear(room.out, rows * width);
        clear_rows(head.softmax, t, t + rows, 2 * BRANCHES);  // of a branch in which nothing is seen
        for_branches(shape, head, t, rows, tile, room.list, [&](int branch, int64_t at) {
            const int64_t skipped = (at - t) * width;
            const Source& source = branch == BLOCK ? summaries : events;
            attend(shape, head, branch, at, tile, room.list, source, (branch == BLOCK ? block_q : room.q) + skipped, room.scores, room.out + skipped);
        });
        for (int64_t r = 0; r < rows; ++r) __builtin_memcpy(head.out[t + r], room.out + r * width, shape.dim * sizeof(float));
    });
    clear_rows(head.out, length, head.rows, shape.dim);
    clear_rows(head.softmax, length, head.rows, 2 * BRANCHES);
}

// ----------------------------------------------------------------------------------------------------------- backward

void attend_backward(const Shape& shape, const Head& head, int branch, int64_t t, const Tile& tile, const List& list, const Source& source, const float* q,
                     const float* d_out, float* weights, float* gradients, float* d_q) {
    const int64_t width = shape.width(), ld = leading(list), own = t / shape.block;
    const float* bias = source.bias.of(own);
    float *d_bias = source.d_bias.of(own), scale[TILE];
    score(tile, list, q, width, shape.dim, source.transposed_keys, weights, ld);
    score(tile, list, d_out, width, shape.dim, source.transposed_values, gradients, ld);
    for (int64_t s = 0; s < tile.strips; ++s)
        for (int64_t r = tile.begin(s); r < tile.end(s); ++r) {
            const int64_t begin = tile.low[s] * PANEL, end = tile.high[s] * PANEL;
            float *row = weights + r * ld, *gradient = gradients + r * ld;
            const float* softmax = head.softmax[t + r] + 2 * branch;
            if (bias) add(row, bias, list.size * PANEL);
            mask(row, tile, list, r, tile.low[s], tile.high[s]);
            vec total = {};
            for (int64_t i = begin; i < end; i += LANES) {
                const vec x = exp2<false>(load(row + i) - softmax[0]);
                store(row + i, x);
                total += x * load(gradient + i);
            }
            const float mean = softmax[1] * sum(total);  // output times upstream gradient
            if (head.d_gates.data) head.d_gates[t + r][branch] = mean;
            const float factor = softmax[1] * gate(head, t + r, branch);
            for (int64_t i = begin; i < end; i += LANES) {
                const vec weight = factor * load(row + i);
                store(row + i, weight);
                store(gradient + i, weight * (load(gradient + i) - mean));
            }
            scale[r] = LN2 * query_scale(shape);
            if (d_bias) add(d_bias, gradient, list.size * PANEL);
        }
    add_outer_all(tile, list, weights, ld, d_out, width, source.d_values);
    add_outer_all(tile, list, gradients, ld, q, width, source.d_keys);
    weigh_all(tile, list, gradients, ld, source.keys, scale, d_q, width);
}

struct BackwardRoom {
    Scratch scratch;
    List list;
    float *keys, *transposed_keys, *transposed_values, *d_keys, *d_values;
    float *summary_keys, *summary_values, *transposed_summary_values, *d_summary_keys, *d_summary_values, *bias, *d_bias;
    float *weights, *gradients, *q, *d_q, *block_q, *d_block_q, *d_out;

    BackwardRoom(const Shape& shape, int64_t length, float* memory) : scratch{memory} {
        const int64_t panels = longest_list(shape, length), tile = TILE * shape.width();
        list = scratch.list(panels);
        for (float** piece : each(&transposed_keys, &transposed_values)) *piece = scratch.floats(shape.key_panels(length) * PANEL * shape.dim);
        for (float** piece : each(&keys, &d_keys, &d_values))
            *piece = in_place(shape) ? nullptr : scratch.floats(shape.key_panels(length) * PANEL * shape.width());
        for (float** piece : each(&summary_keys, &summary_values, &transposed_summary_values, &d_summary_keys, &d_summary_values))
            *piece = scratch.floats(summary_floats(shape, length));
        for (float** piece : each(&bias, &d_bias)) *piece = scratch.floats(bias_floats(shape));
        for (float** piece : each(&weights, &gradients)) *piece = scratch.floats(TILE * (panels + 1) * PANEL);
        for (float** piece : each(&q, &d_q, &block_q, &d_block_q, &d_out)) *piece = scratch.floats(tile);
    }
};

// to[t] = factor * (events' sum of t + block's sum / block); the last block was seen by nobody. Where rows are
// stored in place, `events` is `to`.
void write_gradient(const Shape& shape, int64_t length, float factor, const Rows& events, const Rows& summaries, const Rows& to) {
    const float part = factor / static_cast<float>(shape.block);
    for (int64_t t = 0; t < length; ++t) {
        const int64_t block = t / shape.block;
        float* row = to[t];
        if (events.data) {
            const float* sum = events[place(shape, t)];
            for (int64_t d = 0; d < shape.dim; ++d) row[d] = factor * sum[d];
        } else {
            clear(row, shape.dim);
        }
        if (summaries.data && (block + 1) * shape.block < length) {
            const float* sum = summaries[block];
            for (int64_t d = 0; d < shape.dim; ++d) row[d] += part * sum[d];
        }
    }
}

void backward(const Shape& shape, const Head& head, float* memory) {
    const int64_t width = shape.width(), length = head.length;
    BackwardRoom room(shape, length, memory);
    const auto zeros = [&](float* piece) {
        clear(piece, summary_floats(shape, length));
        return Rows{piece, width};
    };
    Source events = {}, summaries = {};
    if (shape.has[WINDOW] || shape.has[SELECTED]) {
        events.keys = stored(shape, head.k, length, room.keys);
        events.transposed_keys = transposed(shape, head.k, length, room.transposed_keys);
        events.transposed_values = transposed(shape, head.v, length, room.transposed_values);
        events.d_keys = sums(shape, head.d_k, length, room.d_keys);
        events.d_values = sums(shape, head.d_v, length, room.d_values);
    }
    if (shape.has[BLOCK]) {
        const Rows values = summary_rows(shape, head.block_value, head.v, length, room.summary_values);
        summaries.keys = summary_rows(shape, head.block_key, head.k, length, room.summary_keys);
        summaries.transposed_keys = head.summaries;
        summaries.transposed_values = transposed_summaries(shape, values, length, room.transposed_summary_values);
        summaries.d_keys = zeros(room.d_summary_keys);
        summaries.d_values = zeros(room.d_summary_values);
        summaries.bias = reversed(shape, head.bias, room.bias);
    }
    if (head.d_bias) {
        clear(room.d_bias, bias_floats(shape));
        summaries.d_bias = {room.d_bias, shape.bias_columns};
    }
    const bool apart = head.block_query.data != nullptr;
    const float* block_q = apart ? room.block_q : room.q;
    float* d_block_q = apart ? room.d_block_q : room.d_q;
    Tile tile;
    for_tiles(shape, length, [&](int64_t t, int64_t rows) {
        copy_rows(head.q, t, t + rows, shape.dim, width, query_scale(shape), room.q);
        copy_rows(head.d_out, t, t + rows, shape.dim, width, 1, room.d_out);
        fetch(head.q, t + rows, least(length, t + rows + TILE), shape.dim);
        fetch(head.d_out, t + rows, least(length, t + rows + TILE), shape.dim);
        clear(room.d_q, rows * width);
        if (apart) {
            copy_rows(head.block_query, t, t + rows, shape.dim, width, query_scale(shape), room.block_q);
            clear(room.d_block_q, rows * width);
        }
        clear_rows(head.d_gates, t, t + rows, BRANCHES);
        for_branches(shape, head, t, rows, tile, room.list, [&](int branch, int64_t at) {
            const int64_t skipped = (at - t) * width;
            const bool block = branch == BLOCK;
            attend_backward(shape, head, branch, at, tile, room.list, block ? summaries : events, (block ? block_q : room.q) + skipped, room.d_out + skipped,
                            room.weights, room.gradients, (block ? d_block_q : room.d_q) + skipped);
        });
        for (int64_t r = 0; r < rows; ++r) {
            __builtin_memcpy(head.d_q[t + r], room.d_q + r * width, shape.dim * sizeof(float));
            if (apart) __builtin_memcpy(head.d_block_query[t + r], room.d_block_q + r * width, shape.dim * sizeof(float));
        }
    });
    // q was scaled into powers of 2, so what it has added to the keys is 1 / ln 2 too large
    write_gradient(shape, length, LN2, events.d_keys, head.block_key.data ? Rows{} : summaries.d_keys, head.d_k);
    write_gradient(shape, length, 1, events.d_values, head.block_value.data ? Rows{} : summaries.d_values, head.d_v);
    for (int64_t c = 0; c < head.blocks; ++c) {
        const bool seen = (c + 1) * shape.block < length && shape.has[BLOCK];
        for (int64_t d = 0; d < shape.dim; ++d) {
            if (head.d_block_key.data) head.d_block_key[c][d] = seen ? LN2 * summaries.d_keys[c][d] : 0;
            if (head.d_block_value.data) head.d_block_value[c][d] = seen ? summaries.d_values[c][d] : 0;
        }
    }
    for (int64_t m = 0; head.d_bias && m < shape.bias_columns; ++m) head.d_bias[m] = room.d_bias[shape.bias_columns - 1 - m];
    for (const Rows* rows : each(&head.d_q, &head.d_k, &head.d_v, &head.d_block_query)) clear_rows(*rows, length, head.rows, shape.dim);
    clear_rows(head.d_gates, length, head.rows, BRANCHES);
}

int64_t scratch(const Shape& shape, int64_t length, bool backward) {
    const int64_t summarising = summary_floats(shape, length), choosing = ChoiceRoom(shape, length, nullptr).scratch.used;
    const int64_t attending = backward ? BackwardRoom(shape, length, nullptr).scratch.used : ForwardRoom(shape, length, nullptr).scratch.used;
    return most(attending, most(choosing, summarising));
}

}  // namespace

extern const Tiles TABLE(NAME);
const Tiles TABLE(NAME) = {QUOTE(NAME), summarise, choose, forward, backward, scratch};

}  // namespace fuserec
