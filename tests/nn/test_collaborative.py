from __future__ import annotations

import torch

from fuserec.nn import xavier_uniform


def test_parameters_start_within_the_bound_of_xavier() -> None:
    table = xavier_uniform(50, 14, generator=torch.Generator().manual_seed(0))
    bound = (6 / 64) ** 0.5
    assert 0.95 * bound < float(table.detach().abs().max()) <= bound
