"""Fixtures that several files of tests share."""

from pathlib import Path

import pytest

from tests.numbered import SHARED_DATA


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Where the real clips lie."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real clips (../shared/data) are not on this machine")
    return SHARED_DATA
