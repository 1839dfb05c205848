"""Advice of errors in clusters: their files, what they need, and clients that are in force."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import dask.array as da
import pytest
import yaml
from distributed import Client, LocalCluster
from following import (
    PACKAGE,
    Case,
    X,
    fit,
    follow,
    follow_warning,
    found_in,
    written,
)

from daskgmm.errors import ClusterError, DaskGMMError, MissingDependencyError
from daskgmm.execution.clusters import open_cluster, read_config
from daskgmm.execution.clusters.table import KINDS

CONFIGS = PACKAGE.parent / "cluster_configs"
LOCAL = {"cluster": "local", "workers": 1}
GATEWAY = {"cluster": "gateway", "workers": 1}
TLS = {name: f"{name}.pem" for name in ("ca", "cert", "key")}


def cluster(at: Path, content: dict[str, Any]) -> Any:
    """The configuration of a file, which is read and checked, and not started."""
    return read_config(str(written(at / "cluster.yaml", yaml.safe_dump(content))))


def arguments(at: Path, content: dict[str, Any]) -> Any:
    """What its class would be given, of which it warns."""
    config = cluster(at, content)
    return KINDS[content["cluster"]].arguments(config)


def scheduler(at: Path, address: str) -> Any:
    for name in TLS.values():
        written(at / name, "-----BEGIN ")
    return cluster(at, {"cluster": "scheduler", "address": address, "tls": TLS})


CASES = {
    "a kind that is none": Case(
        lambda at: cluster(at, LOCAL | {"cluster": "large"}),
        r"cluster must be one of ([\w, -]+); got",
        lambda at, said: [cluster(at, _shipped(name)) for name in said[1].split(", ")],
    ),
    "a key that is misspelt": Case(
        lambda at: cluster(at, {"cluster": "local", "worker": 1}),
        r"worker is unknown; did you mean (\w+)\?",
        lambda at, said: cluster(at, {"cluster": "local", said[1]: 1}),
    ),
    "no size": Case(
        lambda at: cluster(at, {"cluster": "local"}),
        r"(workers) or (adaptive): give exactly one of the two",
        lambda at, said: [
            cluster(at, {"cluster": "local", said[1]: 1}),
            cluster(at, {"cluster": "local", said[2]: {"minimum": 1, "maximum": 2}}),
        ],
    ),
    "more at least than at most": Case(
        lambda at: cluster(at, {"cluster": "local", "adaptive": {"minimum": 3, "maximum": 2}}),
        r"adaptive.minimum (\d) exceeds maximum (\d)",
        lambda at, said: cluster(
            at,
            {"cluster": "local", "adaptive": {"minimum": int(said[2]), "maximum": int(said[1])}},
        ),
    ),
    "memory of a worker": Case(
        lambda at: cluster(at, LOCAL | {"options": {"memory_limit": "much"}}),
        r"options\.(memory_limit) must be (auto), or a size such as (\w+)",
        lambda at, said: [
            cluster(at, LOCAL | {"options": {said[1]: size}}) for size in said.groups()[1:]
        ],
    ),
    "seconds that are none": Case(
        lambda at: cluster(at, LOCAL | {"client": {"wait_seconds": "long"}}),
        r"client\.(wait_seconds) must be a number of seconds \((\d): do not wait\)",
        lambda at, said: cluster(at, LOCAL | {"client": {said[1]: int(said[2])}}),
    ),
    "a time that is a number": Case(
        lambda at: cluster(at, {**LOCAL, "cluster": "slurm", "options": {"walltime": 43200}}),
        r"options\.(walltime) must be text \(in quotes\), got (\d+)",
        lambda at, said: cluster(at, {**LOCAL, "cluster": "slurm", "options": {said[1]: said[2]}}),
    ),
    "an environment of numbers": Case(
        lambda at: cluster(at, {**LOCAL, "cluster": "kubernetes", "options": {"env": {"A": 3}}}),
        r"options\.(env) must be a mapping of text to text \(numbers in quotes\)",
        lambda at, said: cluster(
            at, {**LOCAL, "cluster": "kubernetes", "options": {said[1]: {"A": "3"}}}
        ),
    ),
    "no hosts": Case(
        lambda at: cluster(at, {"cluster": "ssh"}),
        r"(options) is missing; options\.(hosts) lists the hosts",
        lambda at, said: cluster(
            at, {"cluster": "ssh", said[1]: {said[2]: ["localhost", "localhost"]}}
        ),
    ),
    "certificates for an address that does not encrypt": Case(
        lambda at: scheduler(at, "tcp://host:8786"),
        r"does not encrypt; with tls: use (tls://) or (wss://)",
        lambda at, said: [scheduler(at, f"{scheme}host:8786") for scheme in said.groups()],
    ),
    "an address that is none": Case(
        lambda at: cluster(at, {"cluster": "scheduler", "address": "host:8786"}),
        r"must be an address such as (\S+) \((\w+), (\w+), (\w+) or (\w+)\)",
        lambda at, said: [
            cluster(at, {"cluster": "scheduler", "address": address})
            for address in (said[1], *(f"{scheme}://host:1" for scheme in said.groups()[1:]))
        ],
    ),
}
WARNINGS = {
    "a token in clear": Case(
        lambda at: arguments(at, GATEWAY | {"options": {"address": "http://gateway.org"}}),
        r"options\.(\w+) begins with http://: .*; use (https://)",
        lambda at, said: arguments(at, GATEWAY | {"options": {said[1]: f"{said[2]}gateway.org"}}),
    ),
    "a dashboard that is open": Case(
        lambda at: arguments(at, LOCAL | {"options": {"dashboard_address": "0.0.0.0:8787"}}),
        r"options\.(\w+) .* is open to other machines, .*; use (\S+) and an SSH tunnel",
        lambda at, said: arguments(at, LOCAL | {"options": {said[1]: said[2]}}),
    ),
}


def _shipped(kind: str) -> dict[str, Any]:
    """The configuration of that kind that comes with the package."""
    return yaml.safe_load((CONFIGS / f"{kind}.yaml").read_text()) | {"cluster": kind}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_advice_on_a_cluster_works(case, tmp_path):
    follow(case, tmp_path)


@pytest.mark.parametrize("case", WARNINGS.values(), ids=WARNINGS)
def test_advice_of_a_warning_of_a_cluster_works(case, tmp_path):
    follow_warning(case, tmp_path)


# -- libraries ------------------------------------------------------------------------


def requirements(extra: str) -> set[str]:
    """Names of the distributions that an extra brings, by pyproject.toml."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    return {
        found_in(text, r"[\w-]+")[0].replace("_", "-")
        for text in project["optional-dependencies"][extra]
    }


def extra_of(error: MissingDependencyError) -> str:
    return found_in(str(error), r"pip install 'daskgmm\[(\w+)\]'")[1]


KINDS_WITH_EXTRAS = sorted(name for name, kind in KINDS.items() if getattr(kind, "extra", ""))


@pytest.mark.parametrize("kind", [kind for kind in KINDS_WITH_EXTRAS if kind != "ssh"])
def test_the_extra_that_is_named_brings_the_module_that_lacks(kind, tmp_path, monkeypatch):
    """Installing is not done here: that the extra brings the module is read off its metadata."""
    package = KINDS[kind].class_path.partition(":")[0].partition(".")[0]
    for name in [*sys.modules, KINDS[kind].class_path.partition(":")[0]]:
        if name.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, name, None)
    with (
        pytest.raises(MissingDependencyError) as caught,
        open_cluster(str(CONFIGS / f"{kind}.yaml")),
    ):
        pass
    found_in(str(caught.value), rf"is in {package}[\w.]*, which cannot be imported")
    brought = packages_distributions().get(package)
    assert brought, f"the tests need {package}"
    assert set(brought) <= requirements(extra_of(caught.value))


@pytest.mark.parametrize("kind", ["ssh", "slurm", "pbs", "lsf", "cloud-ec2"])
def test_certificates_come_by_the_extra_that_is_named_or_from_files(kind, tmp_path, monkeypatch):
    for name in [*sys.modules, "cryptography"]:
        if name.partition(".")[0] == "cryptography":
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError) as caught:
        arguments(tmp_path, _shipped(kind))
    found = found_in(str(caught.value), r"needs (cryptography) .*, or give files under (tls):")
    assert found[1] in requirements(extra_of(caught.value))
    for name in TLS.values():
        written(tmp_path / name, "-----BEGIN ")
    assert "security" in arguments(tmp_path, _shipped(kind) | {found[2]: TLS})


@pytest.mark.slow
def test_the_extra_that_is_named_brings_the_library_of_a_url():
    """In a process of its own: where one of them was imported once, it does not lack any more."""
    libraries = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
    script = f"""
import sys
from daskgmm import open_rows
for scheme, library in {libraries}.items():
    sys.modules[library] = None
    try:
        open_rows(scheme + "://bucket/x.zarr")
    except ImportError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    said = done.stdout.splitlines()
    assert len(said) == len(libraries), done.stderr
    for library, line in zip(libraries.values(), said, strict=True):
        extra = found_in(line, rf"{library}.*; pip install 'daskgmm\[(\w+)\]'")[1]
        assert library in requirements(extra)


# -- clients --------------------------------------------------------------------------


def asynchronously(function: Callable[[], Any]) -> Any:
    """The result of a function, or of a coroutine, beside an asynchronous client."""

    async def run() -> Any:
        cluster = LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            asynchronous=True,
            dashboard_address=":0",
        )
        async with cluster, Client(cluster, asynchronous=True):
            found = function()
            return await found if asyncio.iscoroutine(found) else found

    return asyncio.run(run())


def on_dask() -> Any:
    return fit(da.from_array(X, chunks=300))


def refused() -> str:
    with pytest.raises(ClusterError) as caught:
        asynchronously(on_dask)
    return str(caught.value)


def test_a_fit_beside_an_asynchronous_client_works_in_the_thread_that_is_named():
    call = found_in(refused(), r"fit in another thread, by await (asyncio\.to_thread)\(\.\.\.\)")[1]
    module, name = call.split(".")
    assert asynchronously(lambda: getattr(sys.modules[module], name)(on_dask)).n_iter_ > 0


def test_a_fit_works_with_a_client_without_what_is_named():
    said = found_in(refused(), r"or use a client without (asynchronous)=(True)")
    assert said[2] == "True"
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster, **{said[1]: False}),
    ):
        assert on_dask().n_iter_ > 0


def test_waiting_for_a_worker_takes_the_seconds_of_the_key_that_is_named(tmp_path):
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", dashboard_address=":0"
    ) as started:
        content = {"cluster": "scheduler", "address": started.scheduler_address}

        def opened(seconds: float) -> int:
            given = content | {"client": {"wait_seconds": seconds}}
            place = written(tmp_path / "cluster.yaml", yaml.safe_dump(given))
            with open_cluster(str(place)) as client:
                return len(client.scheduler_info()["workers"])

        with pytest.raises(DaskGMMError) as caught:
            opened(0.1)
        said = found_in(str(caught.value), r"no worker within ([\d.]+) s; .*raise client\.(\w+) in")
        assert said[2] == "wait_seconds"
        started.scale(1)
        assert opened(300 * float(said[1])) == 1
