#!/usr/bin/env python3
"""Writes src/gateway/prices.json from the model prices that the newest `litellm` wheel on PyPI carries as data.

Facts only: names and prices, as whole millionths of a US dollar for a million tokens. Of several tiers the dearest is
taken, and what would be guessed is left out: models without a price, and those that bill more than text tokens.
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
# The price itself and its tiers by length of the input; other suffixes are other ways of being served.
FIELDS = {
    "input": re.compile(r"^input_cost_per_token(_above_\d+k_tokens)?$"),
    "cached_input": re.compile(r"^cache_read_input_token_cost(_above_\d+k_tokens)?$"),
    "cache_write": re.compile(r"^cache_creation_input_token_cost(_above_\d+k_tokens)?$"),
    "output": re.compile(r"^output_cost_per_(reasoning_)?token(_above_\d+k_tokens)?$"),
}


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


def price(facts):
    """The dearest tier of each price, or None where input or output has none."""
    tiers = [facts, *(facts.get("tiered_pricing") or [])]
    found = {}
    for field, pattern in FIELDS.items():
        amounts = [micro(v) for tier in tiers for k, v in tier.items() if pattern.match(k) and v]
        found[field] = max(amounts, default=0)
    if not (found["input"] and found["output"]):
        return None
    for field in ("cached_input", "cache_write"):
        found[field] = found[field] or found["input"]
    return found


def models(listed):
    table = {}
    for name, facts in listed.items():
        found = price(facts) if is_wanted(name, facts) else None
        if found:
            short = name.rsplit("/", 1)[-1]
            known = table.get(short, found)
            table[short] = {field: max(known[field], found[field]) for field in found}
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
