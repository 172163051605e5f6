from __future__ import annotations

import pytest

from humanize.time import transfer_time


def test_fr4_texts() -> None:
    assert transfer_time("90 MB", "1 MB") == "a minute"


def test_fr4_numbers() -> None:
    assert transfer_time(7200, 1) == "2 hours"


@pytest.mark.parametrize("rate", [0, -1, "0 kB"])
def test_fr4_rate_must_be_positive(rate: float | str) -> None:
    with pytest.raises(ValueError, match="positive"):
        transfer_time(1, rate)
