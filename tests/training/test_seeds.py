from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from fuserec.training.seeds import named_generator

SEEDS = st.integers(-(2**70), 2**70)


@given(SEEDS, st.text(max_size=12))
def test_the_same_seed_and_name_draw_the_same_numbers(seed: int, name: str) -> None:
    one, two = (torch.rand(4, generator=named_generator(seed, name)) for _ in range(2))
    assert torch.equal(one, two)


def test_other_seeds_and_other_names_draw_other_numbers() -> None:
    purposes = [(seed, name) for seed in (0, 1, -1, 10) for name in ("init", "shuffle", "negatives")]
    drawn = {tuple(torch.rand(4, generator=named_generator(*purpose)).tolist()) for purpose in purposes}
    assert len(drawn) == len(purposes)


def test_drawing_more_from_one_generator_shifts_no_other() -> None:
    greedy, other = named_generator(3, "init"), named_generator(3, "shuffle")
    torch.rand(1000, generator=greedy)
    assert torch.equal(torch.rand(4, generator=other), torch.rand(4, generator=named_generator(3, "shuffle")))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    torch.rand(4, generator=named_generator(0, "init"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_seeds_are_the_same_on_every_machine() -> None:
    # python -c 'import hashlib; print(int.from_bytes(hashlib.sha256(b"0:init").digest()[:8], "big") % 2**63)'
    assert named_generator(0, "init").initial_seed() == 7197220053035497391
