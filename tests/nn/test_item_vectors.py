from __future__ import annotations

import torch

from fuserec.nn.item_vectors import ContentItems, IdItems

CONTENT = torch.randn(400, 6, generator=torch.Generator().manual_seed(1))
WARM = torch.arange(400) % 4 > 0


def items(dropout: float | None) -> ContentItems:
    return ContentItems(6, 400, 5, dropout=dropout, generator=torch.Generator().manual_seed(0))


def test_item_vectors_are_content_and_ids_whose_rows_are_dropped_whole() -> None:
    model = items(0.25).train()
    assert model.ids is not None
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
    served, mapped = model.served(CONTENT, WARM), CONTENT @ model.map.weight.T
    torch.testing.assert_close(served[~WARM], mapped[~WARM])
    torch.testing.assert_close(served[WARM], (mapped + model.ids.weight)[WARM])
    torch.testing.assert_close(model.of_content(CONTENT), mapped)


def test_without_ids_content_is_all() -> None:
    model = items(None).train()
    torch.testing.assert_close(model(CONTENT), CONTENT @ model.map.weight.T)
    assert torch.equal(model.served(CONTENT, WARM), model(CONTENT))


def test_ids_alone_are_zero_where_nothing_trained_them() -> None:
    model = IdItems(400, 5, generator=torch.Generator().manual_seed(0))
    served = model.served(WARM)
    assert torch.equal(served[WARM], model.weight[WARM])
    assert not served[~WARM].any()
