"""Fixtures of federations across machines."""

from pathlib import Path

import pytest

from tests.helpers.machines import interaction_stores


@pytest.fixture(scope="package")
def stores(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The stores of three clients, each with sequences of its own."""
    return interaction_stores(shared_data, tmp_path_factory.mktemp("stores"))
