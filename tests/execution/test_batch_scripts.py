"""What lies beside the configurations: scripts of batch systems, timers and manifests.

Scripts are run, with stand-ins for the batch system and for ``daskgmm``; manifests are held
against Kubernetes' own schema. ``tests/clusters/run_slurm.sh`` gives slurm.sbatch to SLURM.
"""

import configparser
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import kubernetes.client
import pytest
import yaml

from daskgmm.execution.clusters import read_config
from daskgmm.jobfile import read_job

FOLDER = Path(__file__).parents[2] / "cluster_configs"
CONFIGS = sorted(path for path in FOLDER.glob("*.yaml") if "." not in path.stem)
SCRIPTS = sorted(path for path in FOLDER.iterdir() if path.suffix in {".sbatch", ".qsub", ".bsub"})
SERVICES = [FOLDER / "daskgmm.crontab", FOLDER / "daskgmm.service"]
MANIFESTS = sorted(FOLDER.glob("*.cronjob.yaml"))


def test_every_file_is_tested():
    known = {*CONFIGS, *SCRIPTS, *SERVICES, *MANIFESTS, FOLDER / "daskgmm.timer"}
    assert set(FOLDER.iterdir()) == known


# Batch scripts


def job_of(path, tmp_path):
    """The job file that a script shows in its comments, as it would be read."""
    lines = re.findall(r"^#   (\w+: .*)$", path.read_text(), flags=re.M)
    assert len(lines) == 4
    (tmp_path / "job.yaml").write_text("\n".join(lines))
    return read_job(str(tmp_path / "job.yaml"), {})


@pytest.mark.parametrize("path", [*SCRIPTS, *SERVICES], ids=lambda path: path.name)
def test_the_job_file_that_a_script_shows_is_one(path, tmp_path):
    job = job_of(path, tmp_path)
    assert job.get("model.components") == 8
    assert job.checkpoint == str(tmp_path / "checkpoint")
    for name in re.findall(r"`cluster: ([\w.-]+)`", path.read_text()):
        assert (FOLDER / name) in CONFIGS


@pytest.fixture
def stand_ins(tmp_path):
    """A folder of programs that note how they were called; of ``daskgmm``, that ends so."""

    def make(fit):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in ("qsub", "scontrol", "bsub"):
            program = folder / name
            program.write_text('#!/bin/bash\necho "$(basename "$0") $*" >>"$CALLS"\n')
            program.chmod(0o755)
        program = folder / "daskgmm"
        program.write_text(f'#!/bin/bash\necho "daskgmm $*" >>"$CALLS"\n{fit}\n')
        program.chmod(0o755)
        return {
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "CALLS": str(tmp_path / "calls"),
            "SLURM_JOB_ID": "7",
            "PBS_O_WORKDIR": str(tmp_path),
        }

    return make


AGAIN = {
    "slurm.sbatch": ["scontrol requeue 7"],
    "pbs.qsub": ["qsub -v FIT_RUNS=1 pbs.qsub"],
    "lsf.bsub": [],
}
"""How each asks to be run again; LSF does by itself, by ``#BSUB -Q``."""


@pytest.mark.parametrize("status", [0, 1, 75])
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_is_run_again_when_the_fit_was_interrupted(path, status, stand_ins, tmp_path):
    environment = stand_ins(f"exit {status}")
    done = subprocess.run(["bash", str(path)], env=environment, cwd=tmp_path, check=False)
    again = AGAIN[path.name] if status == 75 else []
    assert (tmp_path / "calls").read_text().splitlines() == ["daskgmm run job.yaml", *again]
    assert done.returncode == (0 if again else status)


@pytest.mark.parametrize(
    ("name", "count"), [("slurm.sbatch", "SLURM_RESTART_COUNT"), ("pbs.qsub", "FIT_RUNS")]
)
def test_script_is_not_run_again_for_ever(name, count, stand_ins, tmp_path):
    """A disk that is full stays so."""
    environment = stand_ins("exit 75")
    for n, again in ((49, 1), (50, 0)):
        subprocess.run(
            ["bash", str(FOLDER / name)],
            env=environment | {count: str(n)},
            cwd=tmp_path,
            check=False,
        )
        calls = (tmp_path / "calls").read_text().splitlines()
        (tmp_path / "calls").unlink()
        assert len(calls) == 1 + again


def test_lsf_runs_a_job_again_by_its_status():
    assert '\n#BSUB -Q "75"\n' in (FOLDER / "lsf.bsub").read_text()


def test_slurm_signals_the_shell_before_the_end():
    text = (FOLDER / "slurm.sbatch").read_text()
    assert "\n#SBATCH --signal=B:TERM@120\n" in text
    assert "\n#SBATCH --requeue\n" in text


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_hands_the_signal_on_and_waits(path, stand_ins, tmp_path):
    """Asked to stop, it stops the fit, lets it keep its checkpoint, and is run again."""
    fit = "trap 'sleep 0.5; echo kept >>\"$CALLS\"; exit 75' TERM\ntouch started\nsleep 60 & wait"
    with subprocess.Popen(["bash", str(path)], env=stand_ins(fit), cwd=tmp_path) as script:
        while script.poll() is None and not (tmp_path / "started").exists():
            time.sleep(0.05)
        # In pbs.qsub it is not the batch system that asks, but `timeout`.
        asked = children(script.pid)[0] if path.name == "pbs.qsub" else script.pid
        os.kill(asked, signal.SIGTERM)
        script.wait(30)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == ["daskgmm run job.yaml", "kept", *AGAIN[path.name]]


def children(pid):
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_crontab_line_is_one(stand_ins, tmp_path):
    """Five fields, and a command that runs the job, and one at a time."""
    (line,) = [
        line
        for line in (FOLDER / "daskgmm.crontab").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    *fields, command = line.split(maxsplit=5)
    assert all(re.fullmatch(r"[\d*,/-]+", field) for field in fields)
    environment = stand_ins("sleep 0.5; exit 75") | {"HOME": str(tmp_path)}
    (tmp_path / "fit").mkdir()
    (tmp_path / "venvs/daskgmm").mkdir(parents=True)
    shutil.move(tmp_path / "bin", tmp_path / "venvs/daskgmm/bin")
    both = [subprocess.Popen(["sh", "-c", command], env=environment) for _ in range(2)]
    assert sorted(process.wait() for process in both) == [1, 75]
    assert (tmp_path / "calls").read_text() == "daskgmm run job.yaml\n"


def test_systemd_units_belong_together():
    units = {}
    for path in (FOLDER / "daskgmm.service", FOLDER / "daskgmm.timer"):
        units[path.suffix] = unit = configparser.ConfigParser(interpolation=None, strict=True)
        unit.optionxform = str
        unit.read(path)
    service, timer = units[".service"]["Service"], units[".timer"]["Timer"]
    assert service["Type"] == "oneshot"
    assert service["SuccessExitStatus"] == "75"
    assert service["ExecStart"].endswith("/daskgmm run job.yaml")
    assert service["ExecStart"].startswith("/usr/bin/timeout --preserve-status --signal=TERM ")
    assert re.fullmatch(r"\*-\*-\* \d\d:\d\d:\d\d", timer["OnCalendar"])
    assert units[".timer"]["Install"]["WantedBy"] == "timers.target"


# Kubernetes


def parsed(document):
    """A manifest as Kubernetes' own client reads and writes it."""
    version = document["apiVersion"].rpartition("/")[2].capitalize()
    model = getattr(kubernetes.client, f"{version}{document['kind']}")
    client = kubernetes.client.ApiClient()
    return client.sanitize_for_serialization(model.model_validate(document))


def fits(document):
    """A wrong type or a missing key is refused; an unknown key does not come back."""
    try:
        return parsed(document) == document
    except ValueError:
        return False


def documents():
    return list(yaml.safe_load_all(MANIFESTS[0].read_text()))


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["kind"])
def test_manifest_fits_the_schema(document):
    assert fits(document)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("spec", "schedule"), None),
        (("spec", "jobTemplate", "spec", "backOffLimit"), 3),
        (("spec", "jobTemplate", "spec", "backoffLimit"), "many"),
        (("spec", "jobTemplate", "spec", "template", "spec", "containers"), {"name": "x"}),
    ],
)
def test_a_wrong_manifest_would_be_seen(keys, value):
    document = documents()[-1]
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    if value is None:
        del inner[keys[-1]]
    assert not fits(document)


def test_manifest_runs_a_job_and_what_it_names_is_there(tmp_path):
    by_kind = {document["kind"]: document for document in documents()}
    spec = by_kind["CronJob"]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    pod = spec["jobTemplate"]["spec"]["template"]
    assert pod["spec"]["restartPolicy"] == "OnFailure"
    assert pod["spec"]["containers"][0]["args"] == ["daskgmm", "run", "/job/job.yaml"]
    name = by_kind["ConfigMap"]["metadata"]["name"]
    assert pod["spec"]["volumes"] == [
        {"name": "job", "configMap": {"name": name}},
        {
            "name": "fit",
            "persistentVolumeClaim": {
                "claimName": by_kind["PersistentVolumeClaim"]["metadata"]["name"]
            },
        },
    ]
    account = by_kind["ServiceAccount"]["metadata"]["name"]
    assert pod["spec"]["serviceAccountName"] == account
    assert by_kind["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": account}]
    allowed = by_kind["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    assert {"podSelector": {"matchLabels": pod["metadata"]["labels"]}} in allowed
    for name, text in by_kind["ConfigMap"]["data"].items():
        (tmp_path / name).write_text(text)
    job = read_job(str(tmp_path / "job.yaml"), {})
    assert job.get("cluster") == "/job/cluster.yaml"
    assert read_config(str(tmp_path / "cluster.yaml")).values["cluster"] == "kubernetes"
