"""Tiny corpora in memory, with a structure that is known because it was planted.

User u and item i belong to the groups ``u % NUM_GROUPS`` and ``i % NUM_GROUPS``. Users mostly choose items of
their own group, and content says the group too, so whatever learns anything at all does better than chance.
The awkward cases are in every corpus unless switched off: cold items (no training interaction, though some are
held out), items that lack a modality or all of them, neighbour graphs that are directed, padded and partly hold
the item itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fuserec.batch import Corpus, KnnGraph, Modality, Pairs, Prepared
from fuserec.errors import ConfigError
from fuserec.files import hash_json
from fuserec.shapes import Bool, Int

__all__ = ["NUM_GROUPS", "opposed_neighbours", "tiny_corpus", "tiny_prepared"]

NUM_GROUPS = 3
_OWN_GROUP = 8.0  # how much likelier a user takes an item of the own group than another
_NEIGHBOURS = 5


def tiny_prepared(
    *,
    seed: int = 0,
    num_users: int = 40,
    num_items: int = 30,
    events_per_user: int = 8,
    modalities: tuple[str, ...] = ("text", "image"),
    ready_graph: tuple[str, ...] = (),
    missing: float = 0.2,
    num_cold: int = 3,
    repeats: bool = False,
    titled: bool = False,
) -> Prepared:
    """A small dataset under a leave-one-out split, the same for the same arguments.

    Args:
        seed: of everything random here.
        num_users: U, all of them with training interactions.
        num_items: I, cold items included.
        events_per_user: length of each history; its last item is the test item, the one before it the validation
            item, the rest is training. These two differ from each other.
        modalities: names of those with features; each has another width.
        ready_graph: names of those with a ready neighbour graph; a name not in ``modalities`` has a graph only.
        missing: share of the items that lack a modality, drawn for each; one warm item lacks them all.
        num_cold: items without a training interaction; the first few users have one as their test item.
        repeats: let users have the same item again, also a training item as a held-out one.
        titled: two modalities more, which all items have: ``title``, and ``category``, its group and sometimes another.

    Raises:
        ConfigError: the numbers cannot be met together.

    Example:
        >>> prepared = tiny_prepared(seed=1)
        >>> len(prepared.corpus.train), len(prepared.valid), len(prepared.test)
        (240, 40, 40)
        >>> int((prepared.corpus.popularity() == 0).sum())
        3
    """
    _check(num_users, num_items, events_per_user, missing, num_cold)
    rng = torch.Generator().manual_seed(seed)
    is_cold = torch.zeros(num_items, dtype=torch.bool)
    is_cold[torch.randperm(num_items, generator=rng)[:num_cold]] = True

    histories = _draw_histories(num_users, events_per_user, is_cold, repeats=repeats, rng=rng)
    # Events of different users alternate, as in a log; a model that needs whole histories has to gather them.
    by_time = histories.T
    user_rows = torch.arange(num_users)
    train_steps = events_per_user - 2
    corpus = Corpus(
        num_users=num_users,
        num_items=num_items,
        train=Pairs(users=user_rows.repeat(train_steps), items=by_time[:train_steps].flatten()),
        modalities=_draw_modalities(modalities, ready_graph, missing, is_cold, rng)
        + (_titles_and_categories(num_items, seed) if titled else ()),
    )
    valid = Pairs(users=user_rows, items=by_time[-2].clone())
    test = Pairs(users=user_rows, items=by_time[-1].clone())
    pairs = [[part.users.tolist(), part.items.tolist()] for part in (corpus.train, valid, test)]
    return Prepared(
        corpus=corpus,
        valid=valid,
        test=test,
        split="leave-one-out",
        repeats=repeats,
        dataset_hash=hash_json({"tiny": seed, "pairs": pairs}),
        split_hash=hash_json(pairs),
    )


def tiny_corpus(**options: Any) -> Corpus:
    """The corpus of `tiny_prepared` with the same arguments."""
    return tiny_prepared(**options).corpus


def opposed_neighbours() -> Corpus:
    """One user with items 0 and 1; item 2 is cold, like item 0 (weight 1) and the opposite of item 1 (weight -.9).

    Its row of the normalised graph sums to less than 0.
    """
    graph = KnnGraph(
        neighbours=torch.tensor([[-1, -1], [2, -1], [0, 1]]),
        weights=torch.tensor([[0.0, 0.0], [-0.9, 0.0], [1.0, -0.9]]),
    )
    return Corpus(
        num_users=1,
        num_items=3,
        train=Pairs(users=torch.tensor([0, 0]), items=torch.tensor([0, 1])),
        modalities=(Modality(name="text", present=torch.ones(3, dtype=torch.bool), graph=graph),),
    )


def _check(num_users: int, num_items: int, events_per_user: int, missing: float, num_cold: int) -> None:
    if num_users < NUM_GROUPS:
        raise ConfigError(f"num_users must be at least {NUM_GROUPS}, one for each group, got {num_users}")
    if not 0 <= num_cold <= num_items - NUM_GROUPS:
        raise ConfigError(f"num_cold must be 0 .. num_items - {NUM_GROUPS}, got {num_cold} of {num_items}")
    if not 3 <= events_per_user <= num_items - num_cold:
        raise ConfigError(
            f"events_per_user must be 3 .. {num_items - num_cold} (the warm items), got {events_per_user}"
        )
    if not 0 <= missing <= 1:
        raise ConfigError(f"missing must be 0 .. 1, a share of the items, got {missing}")
    if num_items - num_cold > (num_users // NUM_GROUPS) * (events_per_user - 2):
        raise ConfigError(
            f"expected users enough to give each of {num_items - num_cold} warm items a training interaction, got "
            f"{num_users} users with {events_per_user - 2} each; raise num_users or events_per_user, or raise num_cold"
        )


def _draw_histories(
    num_users: int, length: int, is_cold: Bool[Tensor, " I"], *, repeats: bool, rng: torch.Generator
) -> Int[Tensor, "U length"]:
    """Each user's items in time; every warm item is in somebody's training part, no cold item is."""
    item_group = torch.arange(len(is_cold)) % NUM_GROUPS
    popularity = 0.2 + torch.rand(len(is_cold), generator=rng)
    rows = []
    for user, dealt in enumerate(_deal(is_cold, num_users)):
        wish = popularity * torch.where(item_group == user % NUM_GROUPS, _OWN_GROUP, 1.0)
        wish[is_cold] = 0
        if not repeats:
            wish[dealt] = 0
        drawn = torch.multinomial(wish, length - len(dealt), replacement=repeats, generator=rng)
        row = torch.cat([dealt, drawn])
        if row[-1] == row[-2]:  # only with repeats
            row[-1] = torch.nonzero((wish > 0) & (torch.arange(len(wish)) != row[-2]))[0, 0]
        rows.append(row)
    histories = torch.stack(rows)
    cold = torch.nonzero(is_cold)[:, 0][:num_users]
    histories[: len(cold), -1] = cold
    return histories


def _deal(is_cold: Bool[Tensor, " I"], num_users: int) -> list[Int[Tensor, " n"]]:
    """Hand every warm item to one user of its group, in turns."""
    hands: list[list[int]] = [[] for _ in range(num_users)]
    turn = [0] * NUM_GROUPS
    for item in torch.nonzero(~is_cold)[:, 0].tolist():
        group = item % NUM_GROUPS
        players = range(group, num_users, NUM_GROUPS)
        hands[players[turn[group] % len(players)]].append(item)
        turn[group] += 1
    return [torch.tensor(hand, dtype=torch.int64) for hand in hands]


def _draw_modalities(
    modalities: tuple[str, ...],
    ready_graph: tuple[str, ...],
    missing: float,
    is_cold: Bool[Tensor, " I"],
    rng: torch.Generator,
) -> tuple[Modality, ...]:
    bare_item = int(torch.nonzero(~is_cold)[0, 0])
    names = [*modalities, *(name for name in ready_graph if name not in modalities)]
    drawn = []
    for index, name in enumerate(names):
        present = _draw_present(len(is_cold), missing, bare_item, rng)
        features = None
        if name in modalities:
            width = 8 + 2 * index
            centres = torch.randn(NUM_GROUPS, width, generator=rng)
            noise = torch.randn(len(is_cold), width, generator=rng)
            features = centres[torch.arange(len(is_cold)) % NUM_GROUPS] + 0.5 * noise
            features[~present] = 0
        graph = _draw_graph(present, rng) if name in ready_graph else None
        drawn.append(Modality(name=name, present=present, features=features, graph=graph))
    return tuple(drawn)


def _titles_and_categories(num_items: int, seed: int) -> tuple[Modality, ...]:
    rng = torch.Generator().manual_seed(seed + 1)  # nothing else is drawn otherwise for their sake
    group = torch.arange(num_items) % NUM_GROUPS
    titles = torch.randn(NUM_GROUPS, 12, generator=rng)[group] + 0.5 * torch.randn(
        num_items, 12, generator=rng
    )
    categories = torch.zeros(num_items, NUM_GROUPS)
    categories[torch.arange(num_items), group] = 1.0
    categories[torch.arange(num_items), (group + 1) % NUM_GROUPS] = 1.0 * (
        torch.rand(num_items, generator=rng) < 0.3
    )
    present = torch.ones(num_items, dtype=torch.bool)
    return (
        Modality(name="title", present=present, features=titles),
        Modality(name="category", present=present, features=categories),
    )


def _draw_present(num_items: int, missing: float, bare_item: int, rng: torch.Generator) -> Bool[Tensor, " I"]:
    count = round(missing * num_items)
    order = torch.randperm(num_items, generator=rng)
    if count > 0:
        order = torch.cat([torch.tensor([bare_item]), order[order != bare_item]])
    present = torch.ones(num_items, dtype=torch.bool)
    present[order[:count]] = False
    return present


def _draw_graph(present: Bool[Tensor, " I"], rng: torch.Generator) -> KnnGraph:
    """Neighbours of the own group at random: directed, sometimes with the item itself, padded with -1."""
    num_items = len(present)
    neighbours = torch.full((num_items, _NEIGHBOURS), -1, dtype=torch.int64)
    weights = torch.zeros(num_items, _NEIGHBOURS)
    group = torch.arange(num_items) % NUM_GROUPS
    for item in torch.nonzero(present)[:, 0].tolist():
        candidates = torch.nonzero(present & (group == group[item]))[:, 0]
        chosen = candidates[torch.randperm(len(candidates), generator=rng)[:_NEIGHBOURS]]
        neighbours[item, : len(chosen)] = chosen
        similarity = 0.2 + 0.8 * torch.rand(len(chosen), generator=rng)
        similarity[chosen == item] = 1.0
        weights[item, : len(chosen)] = similarity
    return KnnGraph(neighbours=neighbours, weights=weights)
