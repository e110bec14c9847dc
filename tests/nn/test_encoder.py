from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.nn import Dropout, begin_draws
from fuserec.nn.encoder import BLOCKS, Encoder
from fuserec.ops.blocks import Blocks

DIM = 8
OFFSETS = torch.tensor([0, 4, 5, 12])
OPTIONS: dict[str, Any] = {"heads": 2, "hidden": 12}


def built(
    block: str = "transformer", *, seed: int = 0, rate: float = 0.5, num_layers: int = 2, **options: Any
) -> Encoder:
    return Encoder(
        block,
        dim=DIM,
        num_layers=num_layers,
        options=options or OPTIONS,
        dropout=rate,
        generator=torch.Generator().manual_seed(seed),
    )


def rows(seed: int = 2) -> Tensor:
    return torch.randn(12, DIM, generator=torch.Generator().manual_seed(seed))


def test_rows_go_through_the_dropout_each_block_and_the_last_norm() -> None:
    encoder, twin = built(), built()
    found = encoder(rows(), OFFSETS)
    x = twin.dropout(rows())
    for block in twin.blocks:
        x = block(x, OFFSETS)
    assert torch.equal(found, twin.norm(x))
    assert len(twin.blocks) == 2
    assert not torch.equal(twin.dropout(rows()), rows()), "the input is dropped"


def test_blocks_of_rows_go_to_every_block_that_reads_them() -> None:
    options: dict[str, Any] = {"heads": 2, "window": 3, "block": 4, "selected": 1, "group": 2}
    options |= {"branches": ["window", "block", "selected"], "gated": True, "learnt_pooling": False}
    options |= {"evolution": True, "gated_feed_forward": False}
    encoder = Encoder(
        "sparse",
        dim=DIM,
        num_layers=2,
        options=options,
        dropout=0.0,
        generator=torch.Generator().manual_seed(0),
    ).eval()
    begins = torch.tensor([1, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 0]) > 0
    blocks = Blocks.at(begins, OFFSETS, block=4)
    x = rows()
    for block in encoder.blocks:
        x = block(x, OFFSETS, blocks)
    found = encoder(rows(), OFFSETS, blocks)
    assert torch.equal(found, encoder.norm(x))
    assert not torch.allclose(found, encoder(rows(), OFFSETS))


def test_its_description_makes_another_of_the_same_shape() -> None:
    encoder = built(num_layers=3, rate=0.25).eval()
    description = json.loads(json.dumps(encoder.description))
    block = description.pop("block")
    again = Encoder(block, generator=torch.Generator(), **description).eval()
    again.load_state_dict(encoder.state_dict())
    assert again.description == encoder.description
    assert torch.equal(again(rows(), OFFSETS), encoder(rows(), OFFSETS))
    assert again.dropout.rate == 0.25


def test_what_is_done_to_the_options_afterwards_does_not_change_the_description() -> None:
    options: dict[str, Any] = {"heads": 2, "hidden": 12}
    encoder = Encoder(
        "transformer", dim=DIM, num_layers=1, options=options, dropout=0.0, generator=torch.Generator()
    )
    options["heads"] = 4
    assert encoder.description["options"] == {"heads": 2, "hidden": 12}


def test_an_epoch_has_draws_of_its_own_in_every_dropout() -> None:
    encoder = built()
    dropouts = [module for module in encoder.modules() if isinstance(module, Dropout)]
    assert len(dropouts) == 3
    assert len({int(one.seed) for one in dropouts}) == 3
    found = []
    for _ in range(2):
        begin_draws(encoder)
        found.append(encoder(rows(), OFFSETS))
    assert [int(one.epoch) for one in dropouts] == [2, 2, 2]
    assert not torch.equal(*found)


def test_a_resumed_encoder_repeats_the_bits_of_an_epoch() -> None:
    encoder, resumed = built(), built(seed=5)
    begin_draws(encoder)
    encoder(rows(), OFFSETS)
    resumed.load_state_dict(encoder.state_dict())
    for one in (encoder, resumed):
        begin_draws(one)
    assert torch.equal(encoder(rows(), OFFSETS), resumed(rows(), OFFSETS))


def test_the_seed_decides_and_the_global_random_state_is_not_touched() -> None:
    made = []
    for noise in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(noise)
            before = torch.random.get_rng_state()
            encoder = built()
            made.append(encoder(rows(), OFFSETS))
            assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(*made)
    assert not torch.equal(built().start, built(seed=1).start)


def test_a_later_event_changes_no_earlier_vector() -> None:
    encoder = built().eval()
    x, other = rows(), rows()
    other[3] = 7.0
    before, after = encoder(x, OFFSETS), encoder(other, OFFSETS)
    assert torch.equal(before[:3], after[:3])
    assert not torch.equal(before[3], after[3])
    torch.testing.assert_close(before[4:], after[4:])


def test_the_blocks_have_names() -> None:
    assert "transformer" in BLOCKS
    with pytest.raises(
        ConfigError, match=r"^expected the name of a block, got 'transfomer'; did you mean 'transformer'\?$"
    ):
        built("transfomer")


def test_an_encoder_without_blocks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^num_layers must be at least 1, got 0$"):
        built(num_layers=0)
