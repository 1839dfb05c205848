"""What every test may use; ``tests/`` itself is importable because this file is here."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import dask
import pytest
from distributed.utils import get_mp_context
from forks import preload
from hypothesis import HealthCheck, settings
from made_data import WORDS_OF_FAMILIES
from object_store import ObjectStore

from daskgmm.kernel.blas import single_thread

WORKER_METHOD = "distributed.worker.multiprocessing-method"

# No deadline: no test depends on timing. Derandomised: the same examples every run.
settings.register_profile(
    "here",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--small", action="store_true", help="run slow tests at a small size")


@pytest.fixture(scope="session")
def is_small(request: pytest.FixtureRequest) -> bool:
    """Whether a slow test is to be a small one, which takes seconds."""
    return bool(request.config.getoption("--small"))


_BYTE_CODE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Have processes that tests start keep byte code, and hear the interrupt that tests send."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for `command &`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Else each of them would compile Dask anew, which takes longer than most tests.
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", "") and "PYTHONPYCACHEPREFIX" not in os.environ:
        config.stash[_BYTE_CODE] = tempfile.mkdtemp(prefix="daskgmm-byte-code-")
        os.environ["PYTHONPYCACHEPREFIX"] = config.stash[_BYTE_CODE]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it; nobody asked for it beyond this session."""
    if _BYTE_CODE in config.stash:
        shutil.rmtree(config.stash[_BYTE_CODE], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread():
    """As in every pass: threads that spin on small products cost more than all tests."""
    with single_thread():
        yield


@pytest.fixture(scope="session", autouse=True)
def _workers_are_forked() -> Iterator[None]:
    """Worker processes of clusters that a test starts itself need not import all of Dask.

    Commands start theirs as they do for users.
    """
    with dask.config.set({WORKER_METHOD: "forkserver"}):
        get_mp_context()  # which names what is to be imported, the first time
        preload()
        yield


@pytest.fixture
def workers_are_spawned() -> Iterator[None]:
    """As they are for users."""
    with dask.config.set({WORKER_METHOD: "spawn"}):
        yield


@pytest.fixture(params=WORDS_OF_FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """The name of every covariance family in the table."""
    return request.param


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A server of S3 on loopback; this process has what it needs in its environment."""
    store = ObjectStore.start(tmp_path_factory.mktemp("object-store"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        yield store
    store.stop()


@pytest.fixture
def bucket(object_store: ObjectStore) -> str:
    """The URL of an empty bucket."""
    return object_store.bucket()
