"""Cluster configurations: what they ask for is there to be asked for.

Configurations are held against their schema, and each schema against the signatures of the
real class, of its scheduler and of its workers.
"""

import inspect
import re
import tomllib
from pathlib import Path

import asyncssh
import pytest
from dask_cloudprovider.aws import EC2Cluster
from dask_gateway import GatewayCluster
from dask_jobqueue import LSFCluster, PBSCluster, SLURMCluster
from dask_kubernetes.operator import KubeCluster
from distributed import LocalCluster, Nanny, Scheduler, SSHCluster, Worker
from distributed.deploy.spec import SpecCluster

from daskgmm.execution.clusters import read_config
from daskgmm.execution.clusters.kinds import ExistingScheduler
from daskgmm.execution.clusters.table import KINDS
from daskgmm.rules import TEXT, Rule

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster_configs"
CONFIGS = sorted(path for path in FOLDER.glob("*.yaml") if "." not in path.stem)

# Configurations


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_configuration_is_valid_and_shows_its_command(path):
    config = read_config(str(path))
    assert path.stem.startswith(config.values["cluster"])
    text = path.read_text()
    assert f"--cluster cluster_configs/{path.name}" in text
    extra = getattr(KINDS[config.values["cluster"]], "extra", "")
    assert f"pip install 'daskgmm[{extra}]'" in text if extra else "Nothing to install" in text


def test_every_kind_has_a_configuration():
    assert {read_config(str(path)).values["cluster"] for path in CONFIGS} == set(KINDS)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_what_is_commented_out_is_valid_too(path, tmp_path):
    """Keys in comments take the place of those that they cannot stand beside."""
    _, begin, body = path.read_text().partition("\ncluster: ")
    text = re.sub(r"^( *)# ( *\w+:( .*)?|  *- .*)$", r"\1\2", begin + body, flags=re.M)
    if "\nadaptive:" in text:
        text = re.sub(r"^workers: .*\n", "", text, flags=re.M)
    if "\ntls:" in text:
        text = text.replace("tcp://127", "tls://127")
        for name in ("ca", "cert", "key"):
            (tmp_path / f"{name}.pem").touch()
    (tmp_path / path.name).write_text(text)
    config = read_config(str(tmp_path / path.name))
    assert len(config.lines) > len(read_config(str(path)).lines)


def test_extras_are_those_of_the_table():
    """An error that tells to install an extra tells of one that there is."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {kind.extra for kind in KINDS.values() if getattr(kind, "extra", "")}
    assert wanted <= set(extras["optional-dependencies"])


# Options


def parameters(*functions):
    """Names that a function takes; of a class also those that it passes on to its bases."""
    names = set()
    for function in functions:
        for one in inspect.getmro(function) if inspect.isclass(function) else [function]:
            signature = inspect.signature(one)
            names |= {
                name for name, p in signature.parameters.items() if p.kind is not p.VAR_KEYWORD
            }
    return names


SPEC = parameters(SpecCluster)
SCHEDULER = parameters(Scheduler)
WORKER = parameters(Nanny, Worker)
TAKEN = {
    "local": {"": parameters(LocalCluster) | WORKER},
    "ssh": {
        "": parameters(SSHCluster) | SPEC,
        "scheduler_options": SCHEDULER,
        "worker_options": {"n_workers"} | WORKER,
        "connect_options": parameters(
            asyncssh.connect, asyncssh.SSHClientConnectionOptions.prepare
        ),
    },
    **{
        name: {
            "": parameters(cluster, cluster.job_cls),
            "scheduler_options": SCHEDULER,
        }
        for name, cluster in {"slurm": SLURMCluster, "pbs": PBSCluster, "lsf": LSFCluster}.items()
    },
    "kubernetes": {"": parameters(KubeCluster), "resources": {"requests", "limits"}},
    "gateway": {"": parameters(GatewayCluster)},
    "cloud-ec2": {
        "": parameters(EC2Cluster),
        "scheduler_options": SCHEDULER,
        "worker_options": WORKER,
    },
}
"""What the real classes take, and what they pass on: written by hand from their sources."""


def not_taken(name, options):
    """Options that the class behind a kind does not take."""
    wrong = []
    for key, rule in options.items():
        if key not in TAKEN[name][""]:
            wrong.append(key)
        elif isinstance(rule, dict) and key in TAKEN[name]:
            wrong += [f"{key}.{inner}" for inner in rule if inner not in TAKEN[name][key]]
        elif isinstance(rule, dict) and not isinstance(rule, Rule):
            assert key in {"env"}, f"{key} is nested, and nothing says what it may hold"
    return wrong


STARTED = [name for name, kind in KINDS.items() if not isinstance(kind, ExistingScheduler)]


@pytest.mark.parametrize("name", STARTED)
def test_the_real_class_takes_every_option(name):
    kind = KINDS[name]
    assert not_taken(name, kind.options) == []
    assert not_taken(name, dict(kind.defaults)) == []


def test_an_option_that_no_class_takes_would_be_seen():
    assert not_taken("slurm", {"nodes": TEXT}) == ["nodes"]
    assert not_taken("ssh", {"worker_options": {"ncores": TEXT}}) == ["worker_options.ncores"]
    assert not_taken("gateway", {"workers": TEXT}) == ["workers"]
