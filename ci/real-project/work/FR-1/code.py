def parse_size(text: str) -> int:
    """Read a file size as people write it.

    Decimal (kB), binary (KiB) and GNU (K, as powers of 1024) suffixes are known.

    Examples:
        >>> parse_size("1.5 MB")
        1500000
        >>> parse_size("1 KiB")
        1024

    Args:
        text (str): The size.

    Returns:
        int: The number of bytes, rounded.

    Raises:
        ValueError: The text is no size.
    """
    factors = {"": 1, "b": 1, "byte": 1, "bytes": 1}
    for power, letter in enumerate(suffixes["gnu"].lower(), start=1):
        factors[letter] = factors[f"{letter}ib"] = 1024**power
        factors[f"{letter}b"] = 1000**power
    plain = text.strip().lower()
    number = plain.rstrip("abcdefghijklmnopqrstuvwxyz")
    factor = factors.get(plain[len(number) :])
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if factor is None or not 0 <= value < float("inf"):
        msg = f"not a size: {text!r}"
        raise ValueError(msg)
    return round(value * factor)
