"""Fixtures that several files of tests share."""

import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.paths import SHARED_DATA

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

    from kinestore.pipeline.explorer import Page

# Two threads that wait for each other over tiny networks take ten times as long on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts tests in the background has them ignore Ctrl-C, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Where the real clips lie."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real clips (../shared/data) are not on this machine")
    return SHARED_DATA


@pytest.fixture
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files of the test, and of processes that it starts, away from everybody's."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)  # looked up once


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The address of an empty bucket of an S3 server that runs for the tests alone."""
    import botocore.session
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it has a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "testing")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        botocore.session.get_session().create_client("s3").create_bucket(Bucket="kinestore")
        yield "s3://kinestore"
    server.stop()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A browser for the tests of one file."""
    from tests.helpers.browser import launched

    yield from launched()


@pytest.fixture
def page() -> "Page":
    """Twelve clips for the explorer."""
    from tests.helpers.explored import twelve_clips

    return twelve_clips()


@pytest.fixture
def tab(browser: "Browser", page: "Page", tmp_path: Path) -> "Iterator[Tab]":
    """The page in the browser, which must have said nothing in the end."""
    from tests.helpers.explored import shown

    with shown(browser, page, tmp_path) as one:
        yield one.page
        assert one.said == []
