from __future__ import annotations

import torch
from torch import Tensor

from fuserec.nn import CausalAttention
from fuserec.nn.causal_state import CausalAttentionState

DIM, LENGTH = 8, 140


def attention_and_events() -> tuple[CausalAttention, Tensor]:
    draws = torch.Generator().manual_seed(0)
    attention = CausalAttention(DIM, 2, generator=draws).double()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draws))
    return attention, torch.randn(LENGTH, DIM, generator=draws, dtype=torch.float64)


def full(attention: CausalAttention, x: Tensor) -> Tensor:
    out: Tensor = attention(x, torch.tensor([0, len(x)])).detach()
    return out


def appended(state: CausalAttentionState, x: Tensor) -> Tensor:
    return torch.stack([state.append(row) for row in x])


def test_every_event_gets_its_row_of_the_full_pass() -> None:
    attention, x = attention_and_events()
    for begun in (0, 1, 63, 64, 65, LENGTH):
        state = CausalAttentionState(attention, x[:begun])
        assert len(state) == begun
        rows = [state.append(row) for row in x[begun:]]
        torch.testing.assert_close(torch.stack([*full(attention, x)[:begun], *rows]), full(attention, x))


def test_a_clone_goes_its_own_way_and_nothing_has_a_gradient() -> None:
    attention, x = attention_and_events()
    state = CausalAttentionState(attention, x[:10].requires_grad_())
    other = state.clone()
    appended(other, -x[10:20])
    out = appended(state, x[10:])
    torch.testing.assert_close(out, full(attention, x)[10:])
    assert not out.requires_grad
    assert (len(state), len(other)) == (LENGTH, 20)


def test_memory_grows_with_the_length() -> None:
    attention, x = attention_and_events()
    one, four = (CausalAttentionState(attention, x[:1].expand(length, -1)).nbytes for length in (512, 2048))
    assert 3.5 < four / one < 4.5
