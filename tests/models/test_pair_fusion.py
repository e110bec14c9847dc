"""The scorer of TMFUN's pair scope against the formula, written pair by pair."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fuserec.batch import Histories, Queries
from fuserec.models import pair_fusion
from fuserec.models.pair_fusion import PairFusion
from fuserec.models.registry import SCORERS
from fuserec.models.two_tower import TwoTower
from fuserec.ops.fusion import attend_reference, unit_or_zero_reference

DIM = 4


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parts(
    seed: int = 0, *, users: int = 5, items: int = 7, modalities: int = 2, item_graph: bool = True
) -> dict[str, Any]:
    """What `PairFusion.of` takes, drawn; item 0 has no modality, item 1 has no h^I, item 2 has nothing at all."""
    draw = rng(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, DIM, generator=draw, dtype=torch.float64)

    present = torch.rand(items, modalities, generator=draw) > 0.3
    present[[0, 2]] = False
    present[1] = True
    h, w_q1, w_q2, w_k, w_v = normal(modalities, items), *(normal(DIM) for _ in range(4))
    h *= present.T[:, :, None]
    z, id_feature = normal(items), normal(items) * item_graph
    id_feature[1:3] = 0.0
    return {
        "user": normal(users),
        "item": z,
        "fold": normal(items),
        "foldable": torch.rand(items, generator=draw) > 0.3,
        "keys": h @ w_k @ w_q1.T,
        "logits": ((z @ w_q2) * (h @ w_k)).sum(2),
        "values": h @ w_v,
        "id_feature": id_feature,
        "question": normal(items),
        "present": present,
    }


def literal(given: dict[str, Any], user: Tensor) -> Tensor:
    """(I,) scores of one user, by the vector that each item is to this user."""
    vectors = []
    for i, z in enumerate(given["item"]):
        logits = (given["keys"][:, i] @ user + given["logits"][:, i]) / math.sqrt(DIM)
        having = torch.nonzero(given["present"][i]).squeeze(1)
        e = torch.softmax(logits[having], 0) @ given["values"][having, i]
        pair = torch.stack([e, given["id_feature"][i]])[:, None]
        available = torch.tensor([[len(having) > 0, bool(given["id_feature"][i].any())]])
        g = attend_reference(given["question"][i][None], pair, available)
        vectors.append(z + unit_or_zero_reference(g)[0])
    return torch.stack(vectors) @ user


def known(*users: int) -> Queries:
    return Queries(users=torch.tensor(users), histories=Histories.from_lists([[] for _ in users]))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.integers(1, 3), st.booleans(), st.sampled_from([1.0, 1e3]))
def test_a_score_is_that_of_the_vector_which_the_item_is_to_the_user(
    seed: int, modalities: int, item_graph: bool, certainty: float
) -> None:
    given_parts = parts(seed, modalities=modalities, item_graph=item_graph)
    given_parts["question"] *= (
        certainty  # all but certain, the second step must still leave out what is missing
    )
    found = PairFusion.of(**given_parts).scores(known(0, 1, 2, 3, 4), slice(0, 7))
    expected = torch.stack([literal(given_parts, user) for user in given_parts["user"]])
    torch.testing.assert_close(found, expected)


def test_two_modalities_and_the_item_graph_by_hand() -> None:
    # one user (3, 0) and one item, width 1 in effect: a = softmax(log 3, 0) = 3/4, 1/4, so e = (3/4, 1/4); the second step
    # weighs e and h^I = (0, 3/4) alike: g = (3/8, 1/2), of length 5/8, and along the user 3 * 3/8 / (5/8) = 9/5
    scale = 2**0.5
    scorer = PairFusion.of(
        user=torch.tensor([[3.0, 0.0]]),
        item=torch.tensor([[1.0, 7.0]]),
        fold=torch.zeros(1, 2),
        foldable=torch.tensor([True]),
        keys=torch.tensor([[[math.log(3) / 3 * scale, 5.0]], [[0.0, 5.0]]]),
        logits=torch.zeros(2, 1),
        values=torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]),
        id_feature=torch.tensor([[0.0, 0.75]]),
        question=torch.zeros(1, 2),
        present=torch.tensor([[True, True]]),
    )
    torch.testing.assert_close(scorer.scores(known(0), slice(0, 1)), torch.tensor([[3.0 + 9 / 5]]))


def test_a_new_user_is_folded_in_as_two_towers_do() -> None:
    given_parts = parts()
    scorer = PairFusion.of(**given_parts)
    towers = TwoTower(**{name: getattr(scorer, name) for name in ("user", "item", "fold", "foldable")})
    asking = Queries(users=torch.tensor([-1, 3, -1]), histories=Histories.from_lists([[1, 4, 4, 6], [0], []]))
    expected = torch.stack([literal(given_parts, user) for user in towers.user_vectors(asking)])
    torch.testing.assert_close(scorer.scores(asking, slice(0, 7)), expected)
    assert not scorer.scores(asking, slice(0, 7))[2].any()


@pytest.mark.parametrize("pairs", [1, 6, 11])
def test_the_size_of_the_blocks_does_not_matter(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, asking = PairFusion.of(**parts()), known(0, 2, 4)
    whole = scorer.scores(asking, slice(0, 7))
    monkeypatch.setattr(pair_fusion, "PAIRS_IN_CACHE", pairs)
    torch.testing.assert_close(scorer.scores(asking, slice(0, 7)), whole)
    torch.testing.assert_close(scorer.scores(asking, slice(2, 6)), whole[:, 2:6])


def test_no_tensor_of_a_score_is_as_large_as_a_vector_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """2M + 2 products and numbers a pair: never users x items x width, nor more than a block at a time."""
    sizes: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            sizes.extend(each.numel() for each in (result,) if isinstance(each, Tensor))
            return result

    monkeypatch.setattr(pair_fusion, "PAIRS_IN_CACHE", 100)
    scorer, asking = PairFusion.of(**parts(users=50, items=40)), known(*range(50))
    sizes.clear()
    with Watch():  # type: ignore[no-untyped-call]
        scorer.scores(asking, slice(0, 40))
    # the scores themselves are the largest; a block has at most 3 numbers for each of 100 pairs, a vector a pair 8,000
    assert max(sizes) == 50 * 40


def test_answers_that_cancel_out_move_a_score_by_no_more_than_the_length_of_the_user() -> None:
    given_parts = {
        name: value.float() if value.is_floating_point() else value for name, value in parts().items()
    }
    given_parts["keys"].zero_()
    given_parts["logits"].zero_()
    given_parts["values"] *= 1e3
    given_parts["values"][1] = -given_parts["values"][0] * (1 + 1e-7)
    given_parts["id_feature"].zero_()
    given_parts["present"][:] = True
    scorer = PairFusion.of(**given_parts)
    moved = scorer.scores(known(0, 1, 2, 3, 4), slice(0, 7)) - scorer.user @ scorer.item.T
    lengths = torch.linalg.vector_norm(scorer.user, dim=1, keepdim=True)
    assert bool((moved.abs() <= lengths * (1 + 1e-5)).all())


def test_it_comes_back_from_a_file_and_is_found_by_its_kind() -> None:
    scorer = PairFusion.of(**parts())
    stored = safetensors.torch.load(safetensors.torch.save(scorer.tensors()))
    again = SCORERS["pair_fusion"].from_tensors(stored)
    assert again.num_items == 7
    asking = known(0, 1)
    assert torch.equal(again.scores(asking, slice(0, 7)), scorer.scores(asking, slice(0, 7)))


def test_the_users_part_of_the_logits_changes_the_choice() -> None:
    scorer = PairFusion.of(**parts())
    deaf = replace(scorer, keys=torch.zeros_like(scorer.keys))
    assert not torch.allclose(
        deaf.scores(known(0), slice(0, 7)), scorer.scores(known(0), slice(0, 7)), rtol=1e-3
    )
