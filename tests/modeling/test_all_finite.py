"""Whether values are finite, seen by their sum."""

import pytest
import torch

from cffm_plugin.modeling import all_finite

BIG = 3e38  # two of them overflow float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_value_that_is_not_finite_is_found_wherever_it_is(dtype, value):
    for where in (0, 77, 119):
        spoiled = torch.zeros(120, dtype=dtype)
        spoiled[where] = value
        assert not all_finite(spoiled.view(4, 5, 6))
        assert not all_finite(torch.ones(3), spoiled)


def test_infinities_that_cancel_are_found():
    assert not all_finite(torch.tensor([float("inf"), -float("inf")]))
    assert not all_finite(torch.tensor([float("inf")]), torch.tensor([-float("inf")]))


def test_large_values_whose_sum_overflows_are_finite():
    assert all_finite(torch.full((9,), BIG))
    assert all_finite(torch.full((9,), BIG), torch.full((9,), -BIG))
    assert all_finite(torch.full((99_999,), 65504.0, dtype=torch.float16))
