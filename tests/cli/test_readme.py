"""The README, followed literally: its commands, and its job file."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import forked, write_store

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def code(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Lines that begin with ``daskgmm``, for places that a test can have."""
    lines = "".join(code("sh")).replace("\\\n", " ").splitlines()
    lines = [line.partition(" #")[0].strip() for line in lines if line.startswith("daskgmm ")]
    return [line for line in lines if not re.search(r"s3://|tcp://|run job.yaml", line)]


@pytest.mark.slow
@pytest.mark.parametrize("line", commands())
def test_command(line, tmp_path, made, x):
    write_store(tmp_path / "data.zarr", x[:800])
    np.save(tmp_path / "weights.npy", np.arange(800) % 3)
    shutil.copytree(ROOT / "cluster_configs", tmp_path / "cluster_configs")
    if re.search(r"(--model|info|report|plot \w+) model\.zarr", line):
        shutil.copytree(made / "model.zarr", tmp_path / "model.zarr")
    disk = tmp_path / "fast-disk"
    disk.mkdir()
    words = [str(disk) if word == "/fast/disk" else word for word in line.split()]
    done = forked(*words[1:], cwd=tmp_path)
    assert done.status == 0, done.stderr


def test_python_makes_rows_and_fits_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in code("python"):
        exec(block, names)
    labels = names["labels"].compute()
    assert len(labels) == 100_000
    assert check_is_quiet(tmp_path)


def check_is_quiet(folder):
    """Rows made like this carry checksums, so that nothing is noted of them."""
    done = forked("check", "data.zarr", cwd=folder)
    return done.status == 0 and "note" not in done.stderr


def test_there_are_commands_to_run():
    assert {line.split()[1] for line in commands()} >= {"fit", "predict", "score", "select"}


def test_job_file_is_run_and_then_done(tmp_path, x):
    (job,) = code("yaml")
    (tmp_path / "job.yaml").write_text(job)
    write_store(tmp_path / "data.zarr", x)
    assert forked("run", "job.yaml", cwd=tmp_path).status == 0
    for name in ("model.zarr", "labels.zarr", "scores.zarr", "report.json", "metrics.jsonl"):
        assert (tmp_path / name).exists()
    assert "nothing to do" in forked("run", "job.yaml", cwd=tmp_path).stdout
