from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.nn.genre_encoder import GenreEncoder, adapt, adapt_reference


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=rng(seed))


def encoder(adapted: list[bool], *, width: int = 5, dim: int = 4) -> GenreEncoder:
    """In float64, with corrections that are not zero."""
    made = GenreEncoder(width=width, dim=dim, rank=2, adapted=torch.tensor(adapted), generator=rng()).double()
    torch.nn.init.normal_(made.up, generator=rng(1))
    return made


def test_one_item_of_two_genres_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0]])
    down = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]])
    up = torch.tensor([[[1.0], [0.0]], [[0.0], [1.0]], [[5.0], [5.0]]])
    # V x = 1, 2, 3; half of (1, 0) and half of (0, 2)
    weights = torch.tensor([[0.5, 0.5, 0.0]])
    assert adapt(x, weights, down=down, up=up).tolist() == [[0.5, 1.0]]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.integers(0, 6), st.integers(0, 4))
def test_genre_by_genre_is_item_by_item_in_value_and_gradient(seed: int, count: int, genres: int) -> None:
    kept = drawn(seed, count, genres) > 0
    leaves = [
        drawn(seed + 1, count, 3),
        drawn(seed + 2, count, genres) * kept,
        drawn(seed + 3, genres, 2, 3),
        drawn(seed + 4, genres, 5, 2),
    ]
    if count == 0 or genres == 0:
        found = adapt(leaves[0], leaves[1], down=leaves[2], up=leaves[3])
        assert found.shape == (count, 5)
        assert not found.any()
        return
    results = []
    for function in (adapt, adapt_reference):
        x, weights, down, up = (leaf.clone().requires_grad_() for leaf in leaves)
        value = function(x, weights, down=down, up=up)
        gradients = torch.autograd.grad(
            (value * drawn(seed + 5, count, 5)).sum(), [x, weights, down, up], materialize_grads=True
        )
        # a genre of weight 0 is not looked at, so nothing comes back to that weight
        results.append((value, gradients[0], gradients[1] * kept, *gradients[2:]))
    torch.testing.assert_close(*results)


def test_the_gradient_is_exact() -> None:
    weights = torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    leaves = [drawn(0, 3, 3), drawn(1, 2, 2, 3), drawn(2, 2, 4, 2)]
    assert torch.autograd.gradcheck(
        lambda x, down, up: adapt(x, weights, down=down, up=up), [leaf.requires_grad_() for leaf in leaves]
    )


def test_it_is_the_shared_map_and_the_mean_of_the_genres_corrections() -> None:
    made, x = encoder([True, False, True]), drawn(2, 4, 5)
    genres = torch.tensor([[True, False, True], [True, True, False], [False, True, False], [False] * 3])
    found = made(x, genres)
    for row in range(4):
        expected = made.shared(x[row])
        own = torch.nonzero(genres[row]).squeeze(1).tolist()
        for genre in own:
            if genre != 1:  # rare: it adds nothing, and counts in the mean
                expected = expected + made.up[genre] @ (made.down[genre] @ x[row]) / len(own)
        torch.testing.assert_close(found[row], expected / expected.norm())


def test_at_the_start_genres_do_not_matter_and_already_learn() -> None:
    made = GenreEncoder(width=5, dim=4, rank=2, adapted=torch.tensor([True, True]), generator=rng())
    x = torch.randn(3, 5, generator=rng(1))
    one = torch.tensor([[True, False]] * 3)
    assert torch.equal(made(x, one), made(x, ~one))
    (made(x, one) * torch.randn(3, 4, generator=rng(2))).sum().backward()
    assert made.up.grad is not None
    assert made.up.grad.flatten(1).any(1).tolist() == [True, False]


def test_a_rare_genre_never_learns_and_is_remembered_as_rare() -> None:
    made = encoder([True, False])
    genres = torch.tensor([[True, True], [False, True]])
    made(drawn(0, 2, 5), genres).sum().backward()
    for parameter in (made.up, made.down):
        assert parameter.grad is not None
        assert parameter.grad.flatten(1).any(1).tolist() == [True, False]
    other = encoder([True, True])
    other.load_state_dict(made.state_dict())
    assert other.adapted.tolist() == [True, False]
    torch.testing.assert_close(other(drawn(0, 2, 5), genres), made(drawn(0, 2, 5), genres))


def test_only_the_given_generator_is_drawn_from() -> None:
    before = torch.random.get_rng_state()
    one, same = (
        GenreEncoder(width=3, dim=2, rank=1, adapted=torch.ones(2) > 0, generator=rng(5)) for _ in range(2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.down, same.down)
    assert torch.equal(one.shared.weight, same.shared.weight)
