// What a tile of queries sees, and the memory that this and everything else is written to.
#pragma once

#include "vectors.h"

namespace fuserec {
namespace {

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

}  // namespace
}  // namespace fuserec
