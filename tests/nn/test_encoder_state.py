from __future__ import annotations

import pytest
import torch

from fuserec.errors import ConfigError
from fuserec.nn.encoder import Encoder
from fuserec.nn.encoder_state import EncoderState


def built(block: str = "transformer") -> Encoder:
    options = {"heads": 1} if block == "hstu" else {"heads": 1, "hidden": 6}
    draws = torch.Generator().manual_seed(0)
    return Encoder(block, dim=4, num_layers=2, options=options, dropout=0.5, generator=draws)


def events(length: int) -> torch.Tensor:
    return torch.randn(length, 4, generator=torch.Generator().manual_seed(1))


def test_the_vector_is_the_encoders_last_row_behind_its_start() -> None:
    encoder, x = built().eval(), events(5)
    whole = torch.cat([encoder.start[None], x])
    expected = encoder(whole, torch.tensor([0, 6])).detach()
    state = EncoderState(encoder, x[:0])
    found = [state.vector]
    for row in x:
        state.append(row)
        found.append(state.vector)
    torch.testing.assert_close(torch.stack(found), expected, rtol=0, atol=1e-5)
    assert len(state) == 5
    assert not state.vector.requires_grad


def test_memory_is_that_of_all_blocks() -> None:
    encoder = built().eval()
    one, four = (EncoderState(encoder, events(length)).nbytes for length in (511, 2047))
    assert four == 4 * one > 2 * 512 * 2 * 4 * 4


def test_blocks_that_have_no_step_and_an_encoder_that_drops_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="'ligr' blocks, which go on by one event, got one of HstuBlock; score"
    ):
        EncoderState(built("hstu").eval(), events(3))
    with pytest.raises(
        ConfigError, match=r"in evaluation mode, got one in training mode, which drops; call eval"
    ):
        EncoderState(built(), events(3))
