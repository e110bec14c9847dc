from __future__ import annotations

import pytest
import torch

from fuserec.errors import ConfigError
from fuserec.nn.item_vectors import IdItems, ItemVectors

CONTENT = torch.randn(400, 6, generator=torch.Generator().manual_seed(1))
WARM = torch.arange(400) % 4 > 0


def items(dropout: float | None) -> ItemVectors:
    return ItemVectors(6, 400, 5, dropout=dropout, generator=torch.Generator().manual_seed(0))


def test_item_vectors_are_content_and_ids_whose_rows_are_dropped_whole() -> None:
    model = items(0.25).train()
    assert model.ids is not None
    assert model.map is not None
    mapped = CONTENT @ model.map.weight.T
    added = (model(CONTENT) - mapped).detach()
    dropped = (added == 0).all(1)
    assert (added != 0).any(1).logical_xor(dropped).all(), "a row is dropped in part"
    assert 0.15 < dropped.float().mean() < 0.35
    torch.testing.assert_close(added[~dropped], (model.ids.weight / 0.75)[~dropped].detach())
    model.eval()
    torch.testing.assert_close(model(CONTENT), mapped + model.ids.weight)


def test_items_without_events_are_served_by_content_alone() -> None:
    model = items(0.25).train()
    assert model.ids is not None
    assert model.map is not None
    served, mapped = model.served(CONTENT, WARM), CONTENT @ model.map.weight.T
    torch.testing.assert_close(served[~WARM], mapped[~WARM])
    torch.testing.assert_close(served[WARM], (mapped + model.ids.weight)[WARM])
    torch.testing.assert_close(model.of_content(CONTENT), mapped)


def test_at_first_content_and_ids_are_equally_long() -> None:
    content = torch.nn.functional.normalize(torch.randn(400, 128, generator=torch.Generator().manual_seed(1)))
    model = ItemVectors(128, 400, 64, dropout=0.25, generator=torch.Generator().manual_seed(0))
    assert model.ids is not None
    of_content, of_ids = (rows.norm(dim=1).mean().item() for rows in (model.of_content(content), model.ids()))
    assert 0.9 < of_content / of_ids < 1.1


def test_without_ids_content_is_all() -> None:
    model = items(None).train()
    assert model.map is not None
    torch.testing.assert_close(model(CONTENT), CONTENT @ model.map.weight.T)
    assert torch.equal(model.served(CONTENT, WARM), model(CONTENT))


def test_ids_alone_are_zero_where_nothing_trained_them_and_are_never_dropped() -> None:
    table = IdItems(400, 5, generator=torch.Generator().manual_seed(0))
    model = ItemVectors(None, 400, 5, dropout=0.25, generator=torch.Generator().manual_seed(0)).train()
    assert torch.equal(model(None), table.weight)
    for served in (table.served(WARM), model.served(None, WARM)):
        assert torch.equal(served[WARM], table.weight[WARM])
        assert not served[~WARM].any()


def test_vectors_of_nothing_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^expected content, IDs or both to make item vectors of, got neither$"
    ):
        ItemVectors(None, 4, 5, dropout=None, generator=torch.Generator())
