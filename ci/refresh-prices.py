#!/usr/bin/env python3
"""Writes src/gateway/prices.json from the model prices that the newest `litellm` wheel on PyPI carries as data.

Facts only: names, whole millionths of a US dollar for a million tokens, by the length of a call's input where that
matters, and the most output tokens of a call. What would be guessed is left out: models without a price, and those
that bill more than text tokens.
"""
import datetime
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile
from decimal import ROUND_CEILING, Decimal

TARGET = pathlib.Path(__file__).resolve().parent.parent / "src/gateway/prices.json"
PRICE_FILE = "litellm/model_prices_and_context_window_backup.json"
PROVIDERS = {"anthropic", "openai", "gemini"}
# Prices per image, second, search or voice: a price for text tokens alone would be too low.
OTHER_BILLING = re.compile(r"audio|tts|image|realtime|live|streaming|lyria|omni|robotics|search|deep-research|computer-use|^ft:")
# Suffixes that are not listed here are other ways of being served. A reasoning token is an output token for us, so
# output has the dearer of the two prices.
FIELDS = {
    "input": ("input_cost_per_token",),
    "cached_input": ("cache_read_input_token_cost",),
    "cache_write": ("cache_creation_input_token_cost",),
    "cache_write_1h": ("cache_creation_input_token_cost_above_1hr", "cache_creation_input_token_cost_above_12hr"),
    "output": ("output_cost_per_token", "output_cost_per_reasoning_token"),
}
ABOVE = re.compile(r"_above_(\d+)k_tokens$")


def wheel(directory):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "litellm", "-d", directory]
    subprocess.run(command, check=True)
    return next(pathlib.Path(directory).glob("litellm-*.whl"))


def is_wanted(name, facts):
    if OTHER_BILLING.search(name):
        return False
    if facts.get("litellm_provider") in PROVIDERS:
        return facts.get("mode") in ("chat", "responses")
    return facts.get("litellm_provider") == "dashscope" and "qwen" in name and "coder" in name


def micro(usd_per_token):
    """Millionths of a US dollar for a million tokens, rounded up."""
    return int((Decimal(str(usd_per_token)) * 10**12).to_integral_value(ROUND_CEILING))


def told(facts, suffix=""):
    """The prices that `facts` has under names with this suffix."""
    amounts = {field: [facts.get(key + suffix) for key in keys] for field, keys in FIELDS.items()}
    return {field: max(map(micro, filter(None, some))) for field, some in amounts.items() if any(some)}


def tiers(facts):
    """Prices by the length of the input above which they hold; each lacks what is as in the one before it."""
    ranges = facts.get("tiered_pricing") or []
    found = {int(tier["range"][0]): told(tier) for tier in ranges}
    found[0] = {**told(facts), **found.get(0, {})}
    for thousands in {int(match[1]) for match in map(ABOVE.search, facts) if match}:
        found.setdefault(thousands * 1000, {}).update(told(facts, f"_above_{thousands}k_tokens"))
    return found


def complete(price):
    """Nothing is free that the list is silent about: then input costs what input costs."""
    write = price.get("cache_write", price["input"])
    return {
        "input": price["input"],
        "cached_input": price.get("cached_input", price["input"]),
        "cache_write": write,
        "cache_write_1h": price.get("cache_write_1h", write),
        "output": price["output"],
    }


def longer(price, tier):
    """The price of a tier: what it does not say anew rises as its input does, and nothing gets cheaper."""
    if not ("input" in tier and "input" in price):
        return {**price, **tier}
    risen = {field: -(-amount * tier["input"] // price["input"]) for field, amount in price.items()}
    return {field: max(amount, price.get(field, 0)) for field, amount in {**risen, **tier}.items()}


def model(facts):
    """What the table says of a model, or None where input or output has no price."""
    found, price, steps = tiers(facts), {}, []
    for above in sorted(found):
        price = longer(price, found[above])
        if not ("input" in price and "output" in price):
            return None
        steps.append((above, complete(price)))
    found = steps[0][1]
    if facts.get("max_output_tokens"):
        found["max_output"] = int(facts["max_output_tokens"])
    if len(steps) > 1:
        found["tiers"] = [{"above": above, **price} for above, price in steps[1:]]
    return found


def models(listed):
    table = {}
    for name, facts in listed.items():
        found = model(facts) if is_wanted(name, facts) else None
        if found:
            short = name.rsplit("/", 1)[-1]
            if table.setdefault(short, found) != found:
                raise SystemExit(f"`{name}` has another price than its namesake; which is which?")
    return table


def main():
    with tempfile.TemporaryDirectory() as directory:
        path = wheel(directory)
        listed = json.loads(zipfile.ZipFile(path).read(PRICE_FILE))
    table = models(listed)
    version = path.name.split("-")[1]
    head = {"date": datetime.date.today().isoformat(), "source": f"litellm {version} (PyPI), model price list"}
    lines = [f"    {json.dumps(name)}: {json.dumps(table[name])}" for name in sorted(table)]
    text = json.dumps(head, indent=2)[:-2] + ',\n  "models": {\n' + ",\n".join(lines) + "\n  }\n}\n"
    TARGET.write_text(text)
    print(f"{len(table)} models, {len(text)} bytes, {head['source']}")


if __name__ == "__main__":
    main()
