from __future__ import annotations

import pytest

from humanize.filesize import naturalsize, parse_size


@pytest.mark.parametrize(
    "text, expected",
    [
        ("0", 0),
        ("300 Bytes", 300),
        ("1 Byte", 1),
        ("1.5 MB", 1_500_000),
        ("1 KiB", 1024),
        ("2K", 2048),
        (" 3 gb ", 3_000_000_000),
    ],
)
def test_fr1_parse_size(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "MB", "1 XB", "-1 kB", "one kB", "nan", "1e999"])
def test_fr1_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_fr1_inverse_of_naturalsize() -> None:
    assert parse_size(naturalsize(3_000_000)) == 3_000_000
    assert parse_size(naturalsize(3 * 1024**4, binary=True)) == 3 * 1024**4
