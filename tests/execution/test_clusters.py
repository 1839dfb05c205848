"""Clusters: every configuration is valid, errors name the place, nothing is left running."""

import dataclasses
import os
import sys
import threading
import warnings
from pathlib import Path

import dask
import pytest
from dask import delayed
from distributed import Client, LocalCluster, Security, default_client
from forks import dask_process

from daskgmm.configuration import MAX_BYTES
from daskgmm.errors import (
    ClusterError,
    DaskGMMWarning,
    MissingDependencyError,
    NotFoundError,
)
from daskgmm.execution.clusters import open_cluster, read_config
from daskgmm.execution.clusters.client import connect
from daskgmm.execution.clusters.kinds import ALLOWED_FAILURES, NEEDED_BY_TASKS
from daskgmm.execution.clusters.security import Protection, certificates
from daskgmm.execution.clusters.table import KINDS

CONFIGS = Path(__file__).parents[2] / "cluster_configs"
LOCAL = "cluster: local\nworkers: 1\n"


@pytest.fixture
def write(tmp_path):
    """Write a configuration and return its path."""

    def write(text, name="cluster.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def assert_no_client():
    with pytest.raises(ValueError, match="No client"):
        default_client()


# Configurations


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster: local\nworker: 2\n", r"line 2: worker is unknown; did you mean workers\?"),
        (LOCAL + "options:\n  thread: 1\n", "line 4: options.thread is unknown"),
        (LOCAL + "zzz: 1\n", "line 3: zzz is unknown; known are cluster, workers"),
        ("cluster: local\nworkers: two\n", "line 2: workers must be a whole number.*'two'"),
        ("cluster: local\nworkers: true\n", "line 2: workers must be a whole number.*True"),
        ("cluster: local\nworkers: 0\n", "line 2: workers must be a whole number of 1 or more"),
        (LOCAL + "options: 3\n", "line 3: options must hold keys"),
        (LOCAL + "client:\n  wait_seconds: -1\n", "line 4: client.wait_seconds must be"),
        (LOCAL + "options:\n  memory_limit: much\n", "line 4: options.memory_limit must be"),
        (LOCAL + "options:\n  host: 0.0.0.0\n", "line 4: options.host is unknown"),
        ("workers: 1\ncluster: yarn\n", "line 2: cluster must be one of local, ssh.*'yarn'"),
        ("workers: 1\n", "line 1: cluster must be one of local"),
        ("cluster: [local]\n", "line 1: cluster must be one of local"),
        ("cluster: local\n", "workers or adaptive: give exactly one"),
        (LOCAL + "adaptive: {minimum: 1, maximum: 2}\n", "line 2: workers or adaptive: give"),
        ("cluster: local\nadaptive:\n  minimum: 1\n", "line 2: adaptive.maximum is missing"),
        (
            "cluster: local\nadaptive:\n  maximum: 1\n  minimum: 3\n",
            "line 4: adaptive.minimum 3 exceeds maximum 1",
        ),
        (LOCAL + "workers: 2\n", "line 2: workers is there again on line 3"),
        (
            "cluster: slurm\nworkers: 1\noptions:\n  walltime: 43200\n",
            r"line 4: options.walltime must be text \(in quotes\), got 43200",
        ),
        ("cluster: scheduler\n", "address is missing; it must be an address such as tls"),
        ("cluster: scheduler\naddress: host:1\n", "line 2: address must be an address such as"),
        (
            "cluster: scheduler\naddress: tls://h:1\ntls: {ca: a, cert: b}\n",
            "line 3: tls.key is missing",
        ),
        (
            "cluster: scheduler\naddress: tls://h:1\ntls:\n  ca: a\n  cert: b\n  key: c\n",
            "line 4: tls.ca names .*a, which is no file",
        ),
        (
            "cluster: scheduler\naddress: tcp://h:1\ntls: {ca: a, cert: b, key: c}\n",
            "line 2: address tcp://h:1 does not encrypt",
        ),
        ("cluster: ssh\nworkers: 2\n", "line 2: workers is unknown"),
        ("cluster: ssh\n", "options is missing; options.hosts lists the hosts"),
        ("cluster: ssh\noptions: {}\n", "line 2: options.hosts is missing"),
        ("cluster: ssh\noptions: {hosts: [a]}\n", "line 2: options.hosts must be a list of host"),
        (
            "cluster: ssh\noptions:\n  hosts: [a, b]\n  connect_options: {password: x}\n",
            "line 4: options.connect_options.password is unknown",
        ),
        (
            "cluster: ssh\noptions: {hosts: [a, b]}\ntls: {ca: a, cert: a, key: a}\n",
            "line 3: tls.ca names .*a, which is no file",
        ),
        # Dask Gateway imports a name that it does not know.
        (
            "cluster: gateway\nworkers: 1\noptions: {auth: os.system}\n",
            "line 3: options.auth must be one of basic, kerberos, jupyterhub, got 'os.system'",
        ),
        (
            "cluster: gateway\nworkers: 1\noptions: {address: gateway}\n",
            "line 3: options.address must be an http:// or https:// address",
        ),
        ("cluster: kubernetes\nworkers: 1\ntls: {}\n", "line 3: tls is unknown"),
        ("a: &a [x, x]\nb: [*a, *a]\n", "line 1: anchors and aliases .* are refused"),
        ("[" * 2000, "line 1: nested deeper than"),
        ("cluster: local\n  workers: 1\n", "line 2: not YAML"),
        ("cluster: !!python/object/apply:os.getcwd []\n", "line 1: not YAML"),
        ("cluster: 2020-13-45\n", "line 1: cluster must be one of local.*'2020-13-45'"),
        ("", "must hold keys and values, got None"),
        ("- local\n", "must hold keys"),
        ("#" * (MAX_BYTES + 1), "exceeds 65536 bytes"),
    ],
)
def test_error_names_file_line_and_key(write, text, message):
    path = write(text)
    with pytest.raises(ClusterError, match=message) as caught, open_cluster(path):
        pass
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


def test_alias_bomb_is_refused_before_it_grows(write):
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(ClusterError, match="anchors and aliases"):
        read_config(write("\n".join(levels)))


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(NotFoundError, match=r"nowhere\.yaml: no such file; give an address"):
        read_config(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(ClusterError, match="cannot be read"):
        read_config(str(tmp_path))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ClusterError, match="is not UTF-8 text"):
        read_config(str(tmp_path / "binary"))


# Libraries and programs that a kind needs


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("cloud-ec2", "dask_cloudprovider.aws", "cloud"),
        ("gateway", "dask_gateway", "gateway"),
        ("kubernetes", "dask_kubernetes.operator", "kubernetes"),
        ("lsf", "dask_jobqueue", "lsf"),
        ("pbs", "dask_jobqueue", "pbs"),
        ("slurm", "dask_jobqueue", "slurm"),
        ("ssh", "asyncssh", "ssh"),
    ],
)
def test_missing_library_names_the_extra(monkeypatch, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"cannot be imported .*; pip install 'daskgmm\[{extra}\]'"
    with (
        pytest.raises(MissingDependencyError, match=message) as caught,
        open_cluster(str(CONFIGS / f"{name}.yaml")),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_cluster_beyond_loopback_needs_tls_or_warns(monkeypatch, write):
    """A row as a newcomer would add it, of the one class that is always there."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    remote = dataclasses.replace(KINDS["local"], protection=Protection.CERTIFICATES, extra="remote")
    monkeypatch.setitem(KINDS, "remote", remote)
    path = write("cluster: remote\nworkers: 1\n")
    message = r"needs cryptography.*pip install 'daskgmm\[remote\]', or give files under tls:"
    with pytest.raises(MissingDependencyError, match=message), open_cluster(path):
        pass
    monkeypatch.setitem(KINDS, "remote", dataclasses.replace(remote, protection=Protection.NONE))
    with pytest.warns(DaskGMMWarning, match="whoever reaches"), open_cluster(path):
        pass


@pytest.mark.parametrize(
    ("section", "address", "is_open"),
    [
        ("", "0.0.0.0:0", True),
        ("", "[::]:0", True),
        ("", "127.0.0.1:0", False),
        ("", "localhost:0", False),
        ("", ":0", False),  # as the scheduler, which listens on loopback
        ("scheduler_options", ":0", True),
        ("scheduler_options", "10.0.0.1:0", True),
        ("scheduler_options", "127.0.0.1:0", False),
    ],
)
def test_dashboard_that_others_reach_is_warned_of(write, section, address, is_open):
    kind, options = "local", f"{{dashboard_address: '{address}'}}"
    if section:
        kind, options = "slurm", f"{{{section}: {options}}}"
    config = read_config(write(f"cluster: {kind}\nworkers: 1\noptions: {options}\n"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        KINDS[kind].arguments(config)
    assert ["has no password" in str(warning.message) for warning in told] == [True] * is_open


def test_gateway_that_does_not_encrypt_is_warned_of(write):
    text = "cluster: gateway\nworkers: 1\noptions: {{address: '{}'}}\n"
    config = read_config(write(text.format("http://me:secret@gateway.example.org")))
    with pytest.warns(DaskGMMWarning, match=r"options\.address begins with http.* token") as told:
        KINDS["gateway"].arguments(config)
    assert "secret" not in str(told[0].message)
    for address in ("https://gateway.example.org", "http://127.0.0.1:8000"):
        KINDS["gateway"].arguments(read_config(write(text.format(address))))


# Certificates


@pytest.fixture
def tls(write, tmp_path):
    """The section ``tls`` of a configuration, and what its files hold."""
    made = Security.temporary().get_tls_config_for_role("worker")
    (tmp_path / "ca.pem").write_text(made["ca_file"])
    (tmp_path / "cert.pem").write_text(made["cert"])
    (tmp_path / "key.pem").write_text(made["key"])
    return "tls: {ca: ca.pem, cert: cert.pem, key: key.pem}\n", made


@pytest.mark.parametrize("given", [False, True], ids=["made for the run", "files"])
def test_cluster_beyond_loopback_speaks_tls(monkeypatch, write, tls, given):
    remote = dataclasses.replace(KINDS["local"], protection=Protection.CERTIFICATES)
    monkeypatch.setitem(KINDS, "remote", remote)
    section, made = tls
    path = write("cluster: remote\nworkers: 1\n" + given * section)
    with open_cluster(path) as client:
        assert client.scheduler.address.startswith("tls://")
        security = client.security
        assert delayed(os.getpid)().compute() != os.getpid()
        plain = client.scheduler.address.replace("tls://", "tcp://")
        config = write(
            f"cluster: scheduler\naddress: {plain}\nclient: {{timeout: 0.5}}\n", "p.yaml"
        )
        with pytest.raises(ClusterError, match="no connection"):
            open_cluster(config).__enter__()
    assert security.require_encryption
    assert (security.tls_client_key == made["key"]) == given


def test_certificates_are_for_every_role(write, tls):
    config = read_config(write("cluster: slurm\nworkers: 1\n" + tls[0]))
    security = certificates(config)
    for role in ("client", "scheduler", "worker"):
        assert security.get_tls_config_for_role(role) == {**tls[1], "ciphers": None}


def test_a_file_that_is_no_certificate_is_named(write, tls, tmp_path):
    (tmp_path / "cert.pem").write_bytes(b"\x30\x82")
    config = read_config(write("cluster: slurm\nworkers: 1\n" + tls[0]))
    with pytest.raises(ClusterError, match=r"line 3: tls\.cert names .*cert\.pem.* PEM|cannot be"):
        certificates(config)


def test_missing_program_is_found_before_waiting(monkeypatch, write):
    batch = dataclasses.replace(KINDS["local"], command="no-such-sbatch")
    monkeypatch.setitem(KINDS, "batch", batch)
    path = write("cluster: batch\nworkers: 1\n")
    with pytest.raises(ClusterError, match="no-such-sbatch, which is not on PATH"):
        open_cluster(path).__enter__()


# Clusters that we start


def test_none_is_the_threads_of_this_process():
    with open_cluster(None) as client:
        assert client is None
        assert_no_client()


@pytest.mark.slow
@pytest.mark.usefixtures("workers_are_spawned")
def test_local_cluster_computes_in_other_processes_and_is_closed():
    with open_cluster(str(CONFIGS / "local.yaml")) as client:
        address = client.scheduler.address
        assert address.startswith("tcp://127.0.0.1:")
        assert client.cluster.scheduler.allowed_failures == ALLOWED_FAILURES
        assert client.nthreads().keys() == client.run(os.getpid).keys()
        assert list(client.nthreads().values()) == [1, 1]
        assert delayed(os.getpid)().compute() != os.getpid()
        assert delayed(sum)([delayed(abs)(-i) for i in range(4)]).compute() == 6
        cluster = client.cluster
    assert client.status == "closed"
    assert cluster.status.name == "closed"
    assert_no_client()
    # The setting was ours only while the cluster started.
    assert dask.config.get("distributed.scheduler.allowed-failures") == 3


@pytest.mark.slow
@pytest.mark.usefixtures("workers_are_spawned")
def test_workers_import_what_tasks_need_before_they_join(write):
    # A string, as the environment has it.
    with (
        dask.config.set({"distributed.worker.preload": "json.tool"}),
        open_cluster(write(LOCAL)) as client,
    ):
        client.cluster.scale(2)  # as an adaptive one does: the second comes later
        client.wait_for_workers(2, timeout=60)
        found = client.run(lambda: {"json.tool", NEEDED_BY_TASKS} <= set(sys.modules))
    assert list(found.values()) == [True, True]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_cluster_is_closed_when_the_fit_fails(write, error):
    path = write(
        "cluster: local\nadaptive: {minimum: 1, maximum: 2}\noptions: {processes: false}\n"
    )
    with pytest.raises(error), open_cluster(path) as client:
        _compute_and_raise(error)
    assert client.status == "closed"
    assert client.cluster.status.name == "closed"
    assert_no_client()


def _compute_and_raise(error):
    assert delayed(abs)(-1).compute() == 1
    raise error


def test_error_of_the_library_is_one_line_with_the_file(write, tmp_path):
    (tmp_path / "file").touch()
    path = write(LOCAL + f"options: {{processes: false, local_directory: {tmp_path}/file}}\n")
    with pytest.raises(ClusterError, match="LocalCluster did not start") as caught:
        open_cluster(path).__enter__()
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)
    assert_no_client()


# Batch systems and a gateway, by stand-ins

BATCH = {"slurm": ("sbatch", "scancel"), "pbs": ("qsub", "qdel"), "lsf": ("bsub", "bkill")}


@pytest.fixture
def batch_system(tmp_path, monkeypatch):
    """Programs that submit a job by starting its script, and cancel it by killing it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for submit, cancel in BATCH.values():
        # LSF reads the script from standard input; the others are given its name.
        (programs / submit).write_text(
            f'#!/bin/bash\ncat "$@" >{tmp_path}/script.$$\n'
            f"setsid bash {tmp_path}/script.$$ </dev/null >/dev/null 2>{tmp_path}/$$.log &\n"
            f"echo $!\necho $! >>{tmp_path}/jobs\n"
        )
        (programs / cancel).write_text(
            f'#!/bin/bash\necho "$1" >>{tmp_path}/cancelled\nkill -KILL -- "-$1"\n'
        )
        for name in (submit, cancel):
            (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize(
    "kind",
    # One proves it in every run; each starts a worker as users do, which takes seconds.
    ["slurm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("pbs", "lsf"))],
)
def test_batch_jobs_are_workers_that_speak_tls_and_are_cancelled(kind, batch_system, write):
    path = write(
        f"cluster: {kind}\nworkers: 1\noptions:\n  cores: 2\n  processes: 1\n  memory: 1GiB\n"
        f"  shared_temp_directory: {batch_system}\n  local_directory: {batch_system}\n"
        "  scheduler_options: {host: 127.0.0.1}\nclient: {wait_seconds: 60}\n"
    )
    with open_cluster(path) as client:
        assert client.scheduler.address.startswith("tls://127.0.0.1:")
        assert delayed(os.getpid)().compute() != os.getpid()
        assert list(client.nthreads().values()) == [2]
        assert list(batch_system.glob(".dask-jobqueue.worker.key.*"))
    assert (batch_system / "cancelled").read_text() == (batch_system / "jobs").read_text()
    assert not list(batch_system.glob(".dask-jobqueue.*")), "the run's key stayed"


class Gateway(LocalCluster):
    """What a gateway's class has in common with Dask's, and what it has not."""

    def __init__(self, *, auth, worker_cores):
        assert auth == "jupyterhub"
        super().__init__(
            n_workers=0,
            threads_per_worker=worker_cores,
            processes=False,
            dashboard_address="127.0.0.1:0",
        )


@pytest.mark.parametrize("size", ["workers: 2", "adaptive: {minimum: 2, maximum: 3}"])
def test_gateway_is_given_its_options_and_its_size(monkeypatch, write, size):
    monkeypatch.setattr("dask_gateway.GatewayCluster", Gateway)
    path = write(
        f"cluster: gateway\n{size}\n"
        "options: {auth: jupyterhub, cluster_options: {worker_cores: 2}}\n"
    )
    with open_cluster(path) as client:
        client.wait_for_workers(2, timeout=30)
        assert list(client.nthreads().values()) == [2, 2]


def test_what_a_class_prints_is_not_on_standard_output(monkeypatch, write, capfd):
    class Talking(LocalCluster):
        def __init__(self, **options):
            print("Creating scheduler instance")
            super().__init__(**options)

    monkeypatch.setattr("daskgmm.execution.clusters.local.LocalCluster", Talking)
    with open_cluster(write(LOCAL + "options: {processes: false}\n")) as client:
        client.cluster._log("Creating worker instance")
    told = capfd.readouterr()
    assert told.out == ""
    assert "Creating scheduler instance" in told.err


# Hosts by SSH; tests/clusters/run_ssh.sh connects to a real one


def test_ssh_host_that_does_not_answer_is_named(write):
    path = write(
        "cluster: ssh\noptions:\n  hosts: [127.0.0.1, 127.0.0.1]\n"
        "  connect_options: {port: 1, known_hosts: none, username: nobody}\n"
    )
    with pytest.raises(ClusterError, match=r"ssh 127\.0\.0\.1: cannot connect .*; check options"):
        open_cluster(path).__enter__()
    assert_no_client()


# Schedulers that run already


@pytest.fixture
def scheduler(tmp_path):
    """Address of a scheduler without workers, in a process of its own."""
    file = tmp_path / "scheduler.json"
    command = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]
    with dask_process(*command, "--dashboard-address", "127.0.0.1:0", "--no-dashboard"):
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            address = client.scheduler.address
        yield address


def test_running_scheduler_is_used_and_left_running(scheduler, write, tmp_path):
    path = write(f"cluster: scheduler\naddress: {scheduler}\nclient: {{wait_seconds: 0.2}}\n")
    with pytest.raises(ClusterError, match=r"no worker within 0\.2 s; look at the workers"):
        open_cluster(path).__enter__()
    assert_no_client()
    options = [
        "--nthreads",
        "1",
        "--no-nanny",
        "--no-dashboard",
        "--local-directory",
        str(tmp_path),
    ]
    with dask_process("worker", scheduler, *options):
        for _ in range(2):  # the first exit must not have closed the scheduler
            with open_cluster(scheduler) as client:
                assert client.scheduler.address == scheduler
                assert delayed(os.getpid)().compute() != os.getpid()
                assert (
                    client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures)
                    == 10
                )
            assert_no_client()


BARE = {"n_workers": 0, "processes": False, "protocol": "tcp", "dashboard_address": "127.0.0.1:0"}


def test_scheduler_that_is_not_to_be_asked_is_warned_of():
    with (
        LocalCluster(**BARE, blocked_handlers=["run_function"]) as cluster,
        pytest.warns(DaskGMMWarning, match=r"could not be raised to 10 .*ALLOWED_FAILURES=10"),
        connect(cluster.scheduler_address, "here", wait_seconds=0),
    ):
        assert cluster.scheduler.allowed_failures == 3


def test_what_a_scheduler_allows_is_never_lowered():
    with LocalCluster(**BARE) as cluster:
        cluster.scheduler.allowed_failures = 50
        with connect(cluster.scheduler_address, "here", wait_seconds=0):
            assert cluster.scheduler.allowed_failures == 50


def test_unreachable_scheduler_is_an_error_and_leaves_no_thread(write):
    """A Client that failed to connect left a thread, and its collection could deadlock."""
    path = write("cluster: scheduler\naddress: tcp://127.0.0.1:1\nclient: {timeout: 0.5}\n")
    before = set(threading.enumerate())
    with pytest.raises(ClusterError, match=r"no connection to tcp://127.0.0.1:1 within 0\.5 s"):
        open_cluster(path).__enter__()
    assert set(threading.enumerate()) <= before
    assert_no_client()


def test_tls_address_without_files_says_where_to_name_them():
    with pytest.raises(ClusterError, match=r"cluster_configs/scheduler\.yaml names them"):
        open_cluster("tls://127.0.0.1:1").__enter__()


@pytest.mark.parametrize("address", ["tcp://", "tcp://host", "tcp://host:x", "http://host:1"])
def test_malformed_address(address):
    with pytest.raises(ClusterError, match="must be an address such as tls://host:8786"):
        open_cluster(address).__enter__()


def test_plain_tcp_beyond_loopback_warns(write):
    # 192.0.2.1 is reserved for documentation: nobody answers there.
    path = write("cluster: scheduler\naddress: tcp://192.0.2.1:1\nclient: {timeout: 0.5}\n")
    with (
        pytest.warns(DaskGMMWarning, match=r"192\.0\.2\.1:1: plain tcp beyond this machine"),
        pytest.raises(ClusterError, match="no connection"),
    ):
        open_cluster(path).__enter__()
