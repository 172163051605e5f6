def percentage(value: float, digits: int = 1) -> str:
    """Write a share as a percentage."""
    return f"{value * 100:.{digits}f}%"
