from __future__ import annotations

import pytest

import humanize


@pytest.mark.parametrize("name", ["parse_size", "percentage", "transfer_time"])
def test_fr5_exported(name: str) -> None:
    assert name in humanize.__all__
    assert callable(getattr(humanize, name))
