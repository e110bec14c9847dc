from __future__ import annotations

import cmath
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.ops.rotary import BASE, positions, rotate, rotate_reference

FAR = 50_000
"""The longest history that we promise."""


def drawn(T: int, H: int = 2, D: int = 6, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(T, H, D, generator=generator, dtype=torch.float64)


def dot(one: Tensor, other: Tensor) -> float:
    return float((one.double() * other.double()).sum())


# --- places


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=6))
def test_every_history_counts_from_nought(lengths: list[int]) -> None:
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    assert positions(offsets).tolist() == [place for length in lengths for place in range(length)]


# --- the rotation


def test_one_pair_turns_by_its_position_in_radians() -> None:
    x = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[2.0, 0.0]]], dtype=torch.float64)
    turned = rotate(x, torch.tensor([0, 1, 3]))
    expected = [[1.0, 0.0], [-math.sin(1), math.cos(1)], [2 * math.cos(3), 2 * math.sin(3)]]
    torch.testing.assert_close(turned[:, 0], torch.tensor(expected, dtype=torch.float64))


def test_each_pair_of_neighbours_has_its_own_speed() -> None:
    x, place = drawn(1, 1, 8), 7
    turned = rotate(x, torch.tensor([place]))[0, 0]
    for p in range(4):
        angle = place * BASE ** (-2 * p / 8)
        expected = complex(float(x[0, 0, 2 * p]), float(x[0, 0, 2 * p + 1])) * cmath.exp(1j * angle)
        assert turned[2 * p].item() == pytest.approx(expected.real)
        assert turned[2 * p + 1].item() == pytest.approx(expected.imag)


@pytest.mark.parametrize(
    ("T", "H", "D"), [(0, 2, 4), (1, 1, 2), (13, 3, 6), (5, 2, 64)], ids=["none", "least", "odd", "wide"]
)
def test_it_equals_the_reference_in_values_and_gradients(T: int, H: int, D: int) -> None:
    places = torch.randint(0, 100, (T,), generator=torch.Generator().manual_seed(1))
    weight = drawn(T, H, D, seed=2)
    found = []
    for form in (rotate, rotate_reference):
        x = drawn(T, H, D).requires_grad_()
        out = form(x, places)
        (out * weight).sum().backward()
        assert x.grad is not None
        found.append((out.detach(), x.grad))
    torch.testing.assert_close(found[0], found[1])


def test_a_part_of_a_wider_tensor_turns_as_its_copy_does() -> None:
    wide, places = drawn(5, 6), torch.arange(5)
    part = wide[:, :4].requires_grad_()
    assert not part.is_contiguous()
    assert torch.equal(rotate(part, places), rotate(part.detach().contiguous(), places))


def test_gradcheck() -> None:
    places = torch.tensor([0, 3, 200])
    assert torch.autograd.gradcheck(lambda x: rotate(x, places), (drawn(3).requires_grad_(),))


def test_lengths_stay_and_position_nought_changes_nothing() -> None:
    x = drawn(9)
    turned = rotate(x, torch.arange(9) * 1000)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[0], x[0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, FAR - 300))
def test_products_depend_on_the_distance_alone(here: int, there: int, shift: int) -> None:
    q, k = drawn(1, 1, 16)[0], drawn(1, 1, 16, seed=1)[0]

    def product(one: int, other: int) -> float:
        turned = rotate(torch.stack([q, k]), torch.tensor([one, other]))
        return dot(turned[0], turned[1])

    assert product(here, there) == pytest.approx(product(here + shift, there + shift), abs=1e-9)


def test_other_distances_have_other_products() -> None:
    q = drawn(1, 1, 4)
    turned = rotate(q.expand(5, -1, -1), torch.arange(5))
    assert len({round(dot(turned[0], turned[t]), 6) for t in range(5)}) == 5


@pytest.mark.parametrize("place", [1, 2_314, FAR])
def test_single_precision_is_as_good_far_from_the_start_as_near_it(place: int) -> None:
    # Angles made in single precision would be off by 50,000 * 6e-8 = .003 there.
    x = drawn(1, 2, 64)
    exact = rotate_reference(x, torch.tensor([place]))
    single = rotate(x.float(), torch.tensor([place]))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-6)


def test_far_rows_alone_turn_as_they_do_among_all_before_them() -> None:
    x, far = drawn(FAR, 1, 4), torch.tensor([0, 777, FAR - 1])
    every = rotate(x, torch.arange(FAR))
    torch.testing.assert_close(rotate(x[far], far), every[far])


def test_a_table_made_in_inference_serves_training_too() -> None:
    x, places = torch.randn(3, 1, 10, generator=torch.Generator().manual_seed(0)), torch.arange(3)
    with torch.inference_mode():
        expected = rotate(x, places)
    found = rotate(x.requires_grad_(), places)
    found.sum().backward()
    assert torch.equal(found.detach(), expected)
