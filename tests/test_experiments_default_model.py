"""The model card is that of the file in the package, and says what was measured."""

from __future__ import annotations

import hashlib
import json

import pytest

from experiments.default_model import CARD, SNRS, WEIGHTS, page
from experiments.recipe import TRANSFORMS
from roomacoustic_sk import load_pretrained

LARGEST = 6_000_000  # bytes, all weights together


@pytest.fixture(scope="module")
def card() -> dict:
    return json.loads(CARD.read_text())


def test_the_card_is_that_of_the_file(card) -> None:
    assert card["weights"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert CARD.with_suffix(".md").read_text() == page(card)
    assert load_pretrained().target_names_ == list(TRANSFORMS)


def test_the_card_judges_each_set_at_each_level_of_noise(card) -> None:
    sets = {row["set"] for row in card["rows"]}
    assert len(sets) > 5
    assert {(row["set"], row["snr"], row["target"]) for row in card["rows"]} == {
        (name, snr, target) for name in sets for snr in SNRS for target in TRANSFORMS
    }


def test_weights_are_small() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.parent.iterdir()) < LARGEST


def test_a_mean_of_no_known_value_is_left_out_of_the_card(card) -> None:
    row = {"set": "attic", "snr": None, "target": "c50", "n": 0}
    row |= dict.fromkeys(("true", "rmse", "bias", "coverage", "width"))
    assert "attic" not in page(card | {"rows": [*card["rows"], row]})
