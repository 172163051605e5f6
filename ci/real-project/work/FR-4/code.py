def transfer_time(size: float | str, rate: float | str) -> str:
    """Say how long a transfer takes.

    Examples:
        >>> transfer_time("90 MB", "1 MB")
        'a minute'

    Args:
        size (int, float, str): What is transferred, in bytes or as text.
        rate (int, float, str): Bytes per second, or the same as text.

    Returns:
        str: The time in words.

    Raises:
        ValueError: The rate is not positive, or a text is no size.
    """
    from .filesize import parse_size

    size = parse_size(size) if isinstance(size, str) else size
    rate = parse_size(rate) if isinstance(rate, str) else rate
    if rate <= 0:
        msg = "the rate must be positive"
        raise ValueError(msg)
    return naturaldelta(size / rate)
