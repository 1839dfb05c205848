"""One process at a time holds a folder, and a killed one lets go, locally and behind a URL."""

from __future__ import annotations

import os
import signal
import time

import pytest
from forks import FORKS

from daskgmm.errors import JobRunningError
from daskgmm.storage import Location, held
from daskgmm.storage.places import holding


@pytest.fixture(params=["local", "url"])
def folder(request, tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "_BEAT", 0.1)
    monkeypatch.setattr(holding, "_SILENCE", 20.0)  # a busy machine can keep a beat back
    where = tmp_path if request.param == "local" else f"memory://held-{tmp_path.name}"
    return Location.parse(where)


def test_a_second_one_is_refused_until_the_first_lets_go(folder):
    for _ in range(2):
        with held(folder):
            time.sleep(0.3)
            with pytest.raises(JobRunningError, match="another process"), held(folder):
                pass
            with pytest.raises(JobRunningError), held(folder):
                pass


def test_it_lets_go_when_what_it_was_held_for_fails(folder):
    with pytest.raises(ValueError, match="wrong"), held(folder):
        raise ValueError("wrong")
    with held(folder):
        pass


def test_a_killed_process_holds_nothing(tmp_path):
    process = FORKS.Process(target=_killed_while_it_holds, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / ".running.lock").exists()
    with held(Location.parse(tmp_path)):
        pass


def _killed_while_it_holds(folder):
    with held(Location.parse(folder)):
        os.kill(os.getpid(), signal.SIGKILL)


def test_an_owner_that_gives_no_sign_is_taken_for_dead(tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "_BEAT", 0.1)
    monkeypatch.setattr(holding, "_SILENCE", 0.5)
    folder = Location.parse(f"memory://dead-{tmp_path.name}")
    holding._Lease(folder, "running").take()  # and no beat: it was killed
    began = time.monotonic()
    with held(folder):
        assert time.monotonic() - began > 0.4
    monkeypatch.setattr(holding, "_SILENCE", 60.0)
    began = time.monotonic()
    with held(folder):  # it said so in the end
        assert time.monotonic() - began < 30
