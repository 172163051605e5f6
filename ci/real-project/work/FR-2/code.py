def natural_list(items: list[Any], conjunction: str = "and") -> str:
    """Join items into one text, as a sentence would.

    Examples:
        >>> natural_list(["tea", "milk"], conjunction="or")
        'tea or milk'
        >>> natural_list([])
        ''

    Args:
        items (list): The items.
        conjunction (str): The word between the last two of them.

    Returns:
        str: The items as text.
    """
    texts = [str(item) for item in items]
    if len(texts) < 2:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} {conjunction} {texts[-1]}"
