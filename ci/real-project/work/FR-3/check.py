from __future__ import annotations

import pytest

from humanize.number import percentage


@pytest.mark.parametrize(
    "value, digits, expected",
    [
        (0.256, 1, "25.6%"),
        (2, 0, "200%"),
        (-0.5, 1, "-50.0%"),
        (-0.0001, 1, "0.0%"),
        (0, 2, "0.00%"),
    ],
)
def test_fr3_percentage(value: float, digits: int, expected: str) -> None:
    assert percentage(value, digits) == expected
