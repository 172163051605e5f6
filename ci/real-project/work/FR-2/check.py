from __future__ import annotations

from humanize.lists import natural_list


def test_fr2_empty() -> None:
    assert natural_list([]) == ""


def test_fr2_conjunction() -> None:
    assert natural_list([1, 2, 3], conjunction="or") == "1, 2 or 3"
    assert natural_list(["a", "b"], conjunction="or") == "a or b"


def test_fr2_as_before() -> None:
    assert natural_list([1]) == "1"
    assert natural_list([1, 2, 3]) == "1, 2 and 3"
