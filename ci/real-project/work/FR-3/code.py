def percentage(value: float, digits: int = 1) -> str:
    """Write a share as a percentage.

    Examples:
        >>> percentage(0.256)
        '25.6%'
        >>> percentage(2, digits=0)
        '200%'

    Args:
        value (float): The share; 1 is all of it.
        digits (int): Digits behind the decimal separator.

    Returns:
        str: The percentage; what rounds to zero has no sign.
    """
    text = f"{value * 100:.{digits}f}"
    if not text.strip("-0."):
        text = text.lstrip("-")
    return text.replace(".", decimal_separator()) + "%"
