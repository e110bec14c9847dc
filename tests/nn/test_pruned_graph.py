from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fuserec.nn import PrunedGraph, ThinnedGraph
from fuserec.nn.pruned_graph import EpochDraw, prune, thin
from fuserec.ops.graph import SparseMatrix, bipartite_graph
from fuserec.testing.corpora import tiny_corpus


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def user_item_graph() -> SparseMatrix:
    corpus = tiny_corpus(num_users=15, num_items=14, events_per_user=6, num_cold=2)
    return bipartite_graph(corpus.train.users, corpus.train.items, num_users=15, num_items=14)


def some_graph(size: int = 30, entries: int = 300) -> SparseMatrix:
    """Neither symmetric nor square-rooted nor positive."""
    rng = seeded(1)
    places = torch.randperm(size * size, generator=rng)[:entries]
    return SparseMatrix.from_entries(
        places // size, places % size, torch.randn(entries, generator=rng), shape=(size, size)
    )


# -- the draw of an epoch


def test_a_seed_gives_every_epoch_a_stream_of_its_own_and_the_same_again() -> None:
    first, again, other = EpochDraw(seeded()), EpochDraw(seeded()), EpochDraw(seeded(1))
    streams = [torch.rand(5, generator=first.next()).tolist() for _ in range(4)]
    assert streams == [torch.rand(5, generator=again.next()).tolist() for _ in range(4)]
    assert len({tuple(stream) for stream in streams}) == 4
    assert torch.rand(5, generator=other.next()).tolist() not in streams


def test_a_saved_draw_goes_on_where_it_was() -> None:
    first, other = EpochDraw(seeded()), EpochDraw(seeded(1))
    for _ in range(3):
        first.next()
    other.load_state_dict(first.state_dict())
    assert int(other.epochs_begun) == 3
    assert torch.equal(torch.rand(5, generator=first.next()), torch.rand(5, generator=other.next()))


def test_two_graphs_of_one_generator_have_seeds_of_their_own() -> None:
    rng = seeded()
    assert int(EpochDraw(rng).seed) != int(EpochDraw(rng).seed)


# -- pruning


def test_pruning_keeps_the_share_and_each_pair_once() -> None:
    kept = prune(torch.rand(1000) + 0.1, share=0.2, generator=seeded())
    assert len(kept) == 200
    assert len(kept.unique()) == 200


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.39, 3), (1.0, 10)])
def test_the_share_is_rounded_down_but_one_pair_stays(share: float, count: int) -> None:
    assert len(prune(torch.ones(10), share=share, generator=seeded())) == count


def test_a_pair_is_kept_in_proportion_to_its_weight() -> None:
    """One of three is kept: the chances are 1/6, 2/6, 3/6, within five standard deviations of 6,000 draws."""
    rng = seeded()
    weights = torch.tensor([1.0, 2.0, 3.0])
    counts = torch.zeros(3)
    for _ in range(6000):
        counts[prune(weights, share=0.34, generator=rng)] += 1
    for count, chance in zip(counts.tolist(), (1 / 6, 2 / 6, 3 / 6), strict=True):
        assert abs(count - 6000 * chance) < 5 * math.sqrt(6000 * chance * (1 - chance))


def test_what_is_pruned_is_the_training_graph_and_popular_pairs_go_first() -> None:
    """Of 400 epochs: a pair is in fewer graphs the larger d_u d_i is, and no other pair is in any."""
    whole = user_item_graph()
    pruned, full = PrunedGraph(whole, share=0.2, generator=seeded()), whole.dense()
    counts = torch.zeros_like(full)
    for _ in range(400):
        pruned.begin_epoch(whole)
        kept = pruned.matrix.dense() > 0
        assert int(kept.sum()) == int((full > 0).sum() * 0.2)
        counts += kept
    assert not counts[full == 0].any()
    by_weight = counts[full > 0][full[full > 0].argsort()]
    quarter = len(by_weight) // 4
    assert by_weight[:quarter].mean() < 0.75 * by_weight[-quarter:].mean()


def test_the_pruned_graph_is_normalised_by_what_is_left() -> None:
    whole = user_item_graph()
    pruned = PrunedGraph(whole, share=0.5, generator=seeded())
    pruned.begin_epoch(whole)
    found = pruned.matrix.dense()
    edges = (found > 0).double()
    expected = edges / (edges.sum(1, keepdim=True) * edges.sum(0)).clamp_min(1).sqrt()
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(pruned.matrix.backward.to_dense(), found.T)


def test_with_share_1_the_graph_stays_the_whole_one() -> None:
    whole = user_item_graph()
    pruned = PrunedGraph(whole, share=1.0, generator=seeded())
    pruned.begin_epoch(whole)
    assert torch.equal(pruned.matrix.dense(), whole.dense())


# -- thinning


def test_what_stays_grows_and_the_rest_is_gone() -> None:
    whole = some_graph()
    thinned = thin(whole, share=0.75, generator=seeded())
    found, full = thinned.dense(), whole.dense()
    torch.testing.assert_close(found, torch.where(found != 0, 4 * full, 0.0))
    torch.testing.assert_close(thinned.backward.to_dense(), found.T)
    count, expected = int((found != 0).sum()), 300 * 0.25
    assert abs(count - expected) < 5 * math.sqrt(300 * 0.25 * 0.75)


def test_an_entry_and_its_mirror_image_are_drawn_apart() -> None:
    both_ways = SparseMatrix.from_entries(
        torch.tensor([0, 1] * 50), torch.tensor([1, 0] * 50), torch.ones(100), shape=(2, 2)
    )
    assert both_ways.symmetric
    rng = seeded()
    assert not all(thin(both_ways, share=0.5, generator=rng).symmetric for _ in range(20))


def test_sums_stay_on_average() -> None:
    """Over 2,000 draws the mean of every entry is the entry, within five standard deviations."""
    whole, rng, draws = some_graph(size=6, entries=20), seeded(), 2000
    total = torch.zeros(6, 6)
    for _ in range(draws):
        total += thin(whole, share=0.3, generator=rng).dense()
    full = whole.dense()
    deviation = full.abs() * math.sqrt(0.3 / 0.7 / draws)
    assert ((total / draws - full).abs() <= 5 * deviation + 1e-6).all()


def epochs_of(graph: ThinnedGraph, count: int) -> list[Tensor]:
    seen = []
    for _ in range(count):
        graph.begin_epoch()
        seen.append(graph.matrix.dense())
    return seen


def test_every_epoch_thins_the_whole_graph_anew_and_the_whole_one_stays() -> None:
    """Were an epoch to thin what the last one left, nothing would be there after fifty."""
    whole = some_graph()
    graph = ThinnedGraph(whole, share=0.5, generator=seeded())
    assert torch.equal(graph.matrix.dense(), whole.dense())
    seen = epochs_of(graph, 50)
    assert not torch.equal(seen[0], seen[1])
    assert abs(int((seen[-1] != 0).sum()) - 150) < 5 * math.sqrt(75)
    assert torch.equal(graph.full.matrix.dense(), whole.dense())


def test_the_same_seed_thins_the_same_and_a_saved_state_goes_on() -> None:
    first, again, other = (
        ThinnedGraph(some_graph(), share=0.5, generator=seeded(seed)) for seed in (0, 0, 1)
    )
    for one, same in zip(epochs_of(first, 2), epochs_of(again, 2), strict=True):
        assert torch.equal(one, same)
    assert not torch.equal(epochs_of(other, 3)[-1], epochs_of(first, 1)[0])
    other.load_state_dict(first.state_dict())
    assert torch.equal(epochs_of(other, 1)[0], epochs_of(first, 1)[0])


def test_with_nothing_to_lose_the_graph_stays_the_whole_one() -> None:
    whole = some_graph()
    graph = ThinnedGraph(whole, share=0.0, generator=seeded())
    assert torch.equal(epochs_of(graph, 1)[0], whole.dense())
