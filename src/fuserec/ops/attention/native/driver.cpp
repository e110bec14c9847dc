// The plain C interface: finds the rows of each head of each history, shares the heads out among threads, and lets the
// arithmetic of the best instruction set do the rest.
//
// Threads start with a call and end with it, so nothing is left that a fork could lose. A head is one thread's work from its
// first row to its last, hence no result depends on the number of threads.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "tiles.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace fuserec {
namespace {

// A tensor: floats from one history, head or row to the next. Packed tensors have no stride of histories.
struct View {
    float* data;
    int64_t history, head, row;
};

}  // namespace

// As `_Call` in call.py has it.
struct Call {
    int64_t histories, heads, rows, dim, window, block, selected, group, bias_columns, branches, threads;
    const int64_t* lengths;
    const int64_t* offsets;  // first row of each packed history; null for padded ones
    const float* bias;
    int32_t* choice;
    float* d_bias;  // (histories, heads, bias_columns)
    View q, k, v, gates, block_query, block_key, block_value, out, softmax;
    View d_out, d_q, d_k, d_v, d_gates, d_block_query, d_block_key, d_block_value;
};

namespace {

constexpr int64_t GROUPS_AT_A_TIME = 64;

// The instruction sets that this processor has, the best one first.
std::vector<const Tiles*> all_tiles() {
    std::vector<const Tiles*> all;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        all.push_back(&avx512_tiles);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all.push_back(&avx2_tiles);
#endif
    all.push_back(&plain_tiles);
    return all;
}

// Where all threads wait for the last one.
class Barrier {
  public:
    explicit Barrier(int64_t threads) : threads_(threads) {}

    void wait() {
        std::unique_lock<std::mutex> lock(mutex_);
        const int64_t round = round_;
        if (++waiting_ == threads_) {
            waiting_ = 0;
            ++round_;
            all_.notify_all();
        } else {
            all_.wait(lock, [&] { return round_ != round; });
        }
    }

    // One thread fewer than hoped for has started. To be called before this thread waits: so nobody has gone through yet.
    void leave() {
        std::lock_guard<std::mutex> lock(mutex_);
        --threads_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable all_;
    int64_t threads_, waiting_ = 0, round_ = 0;
};

struct Free {
    void operator()(float* p) const { std::free(p); }
};
using Memory = std::unique_ptr<float, Free>;

Memory floats(int64_t n) { return Memory(static_cast<float*>(std::aligned_alloc(64, (n * sizeof(float) + 127) / 64 * 64))); }

class Work {
  public:
    Work(const Call& call, const Tiles& tiles, bool backward) : call_(call), tiles_(tiles), backward_(backward) {
        shape_ = {call.dim, call.window, call.block, call.selected, call.group, call.bias_columns, {}};
        for (int branch = 0; branch < BRANCHES; ++branch) shape_.has[branch] = call.branches >> branch & 1;
        chooses_ = !backward && shape_.has[SELECTED] && call.selected > 0;
        summarises_ = shape_.has[BLOCK] || chooses_;
    }

    bool run() {
        heads_.resize(call_.histories * call_.heads);
        int64_t blocks = 0, groups = 0, summary_floats = 0, longest = 0;
        std::vector<int64_t> at(heads_.size());
        for (int64_t b = 0; b < call_.histories; ++b) {
            const int64_t length = call_.lengths[b];
            for (int64_t h = 0; h < call_.heads; ++h) {
                heads_[b * call_.heads + h] = head(b, h, blocks, groups);
                at[b * call_.heads + h] = summary_floats;
                if (summarises_) summary_floats += shape_.summary_panels(length) * PANEL * shape_.dim;
            }
            if (chooses_)
                for (int64_t g = 0; g < shape_.groups(length); g += GROUPS_AT_A_TIME) choices_.push_back({b, g});
            longest = std::max(longest, length);
            blocks += shape_.blocks(length);
            groups += shape_.groups(length);
        }
        summaries_ = floats(summary_floats);
        if (!summaries_) return false;
        for (size_t n = 0; n < heads_.size(); ++n) heads_[n].summaries = summaries_.get() + at[n];
        order_.resize(heads_.size());
        std::iota(order_.begin(), order_.end(), 0);
        std::stable_sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) { return heads_[a].length > heads_[b].length; });

        const int64_t jobs = static_cast<int64_t>(std::max(heads_.size(), choices_.size()));
        const int64_t threads = std::max<int64_t>(1, std::min(call_.threads, jobs));
        std::vector<Memory> scratch(threads);
        for (Memory& memory : scratch)
            if (!(memory = floats(tiles_.scratch(shape_, longest, backward_)))) return false;
        Barrier barrier(threads);
        std::vector<std::thread> others;
        others.reserve(threads);
        for (int64_t i = 1; i < threads; ++i) {
            try {
                others.emplace_back([&, i] { take_part(barrier, scratch[i].get()); });
            } catch (const std::exception&) {
                barrier.leave();  // the system has no more threads: fewer do the same
            }
        }
        take_part(barrier, scratch[0].get());
        for (std::thread& other : others) other.join();
        return true;
    }

  private:
    struct Choice {
        int64_t history, group;
    };

    void take_part(Barrier& barrier, float* scratch) {
        if (summarises_) {
            share(next_summary_, heads_.size(), [&](int64_t n) {
                const Head& head = heads_[order_[n]];
                tiles_.summarise(shape_, head, scratch);
            });
            barrier.wait();
        }
        if (chooses_) {
            share(next_choice_, choices_.size(), [&](int64_t n) {
                const Head* heads = &heads_[choices_[n].history * call_.heads];
                const int64_t begin = choices_[n].group, end = std::min(begin + GROUPS_AT_A_TIME, shape_.groups(heads->length));
                tiles_.choose(shape_, heads, call_.heads, begin, end, scratch);
            });
            barrier.wait();
        }
        share(next_head_, heads_.size(), [&](int64_t n) {
            const Head& head = heads_[order_[n]];
            backward_ ? tiles_.backward(shape_, head, scratch) : tiles_.forward(shape_, head, scratch);
        });
    }

    template <class Do>
    static void share(std::atomic<int64_t>& next, size_t jobs, Do act) {
        for (int64_t n; (n = next.fetch_add(1)) < static_cast<int64_t>(jobs);) act(n);
    }

    Rows rows(const View& view, int64_t b, int64_t h, int64_t packed_row) const {
        if (!view.data) return {nullptr, 0};
        return {view.data + b * view.history + h * view.head + packed_row * view.row, view.row};
    }

    Head head(int64_t b, int64_t h, int64_t blocks, int64_t groups) const {
        const int64_t first = call_.offsets ? call_.offsets[b] : 0, block = call_.offsets ? blocks : 0;
        const auto event = [&](const View& view) { return rows(view, b, h, first); };
        const auto summary = [&](const View& view) { return rows(view, b, h, block); };
        Head it = {};
        it.length = call_.lengths[b];
        it.rows = call_.offsets ? it.length : call_.rows;
        it.blocks = call_.offsets ? shape_.blocks(it.length) : shape_.blocks(call_.rows);
        it.q = event(call_.q), it.k = event(call_.k), it.v = event(call_.v), it.gates = event(call_.gates);
        it.block_query = event(call_.block_query), it.block_key = summary(call_.block_key), it.block_value = summary(call_.block_value);
        it.out = event(call_.out), it.softmax = event(call_.softmax);
        it.d_out = event(call_.d_out), it.d_q = event(call_.d_q), it.d_k = event(call_.d_k), it.d_v = event(call_.d_v), it.d_gates = event(call_.d_gates);
        it.d_block_query = event(call_.d_block_query), it.d_block_key = summary(call_.d_block_key), it.d_block_value = summary(call_.d_block_value);
        it.bias = call_.bias ? call_.bias + h * call_.bias_columns : nullptr;
        it.d_bias = call_.d_bias ? call_.d_bias + (b * call_.heads + h) * call_.bias_columns : nullptr;
        it.choice = call_.choice + groups * call_.selected;
        return it;
    }

    const Call& call_;
    const Tiles& tiles_;
    const bool backward_;
    Shape shape_;
    bool chooses_, summarises_;
    std::vector<Head> heads_;
    std::vector<int64_t> order_;
    std::vector<Choice> choices_;
    Memory summaries_;
    std::atomic<int64_t> next_summary_{0}, next_choice_{0}, next_head_{0};
};

}  // namespace
}  // namespace fuserec

// The best instruction set here: "avx512", "avx2" or "plain".
EXPORTED const char* fuserec_attention_best() { return fuserec::all_tiles().front()->name; }

// 0 when done, 1 when memory is lacking, 2 for an instruction set that this processor does not have.
EXPORTED int fuserec_attention(const fuserec::Call* call, const char* instruction_set, int backward) {
    try {
        for (const fuserec::Tiles* tiles : fuserec::all_tiles())
            if (!std::strcmp(instruction_set, tiles->name)) return fuserec::Work(*call, *tiles, backward != 0).run() ? 0 : 1;
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 2;
}
