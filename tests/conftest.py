"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real speech and measured responses that may lie beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(
            f"no real data: {SHARED_DATA.name}/ of LibriSpeech and measured responses is not beside the checkout"
        )
    return SHARED_DATA
