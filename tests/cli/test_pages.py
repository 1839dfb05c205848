"""README and guides: every block of code runs, links lead somewhere, lists are whole."""

import re
import shutil
from importlib.util import module_from_spec, spec_from_file_location

import fsspec
import pytest
from commands import forked
from distributed import LocalCluster
from pages import PAGES, README, ROOT, Code, Session, code_of

from daskgmm.guides import GUIDES, guide, summary_of

BESIDE_DEMO = "`daskgmm demo --small --keep .`"
"""What a page says that its commands run beside."""

N_OF_CI = 2
"""Lines of shell code at the README's beginning that .ci/run takes and runs."""

LINK = re.compile(r"\]\(([^)#]+)\)")


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """What the guides say that their commands run beside, smaller; not to be changed."""
    folder = tmp_path_factory.mktemp("demo")
    made = forked("demo", "--size", "320kB", "--keep", ".", cwd=folder)
    assert made.status == 0, made.stderr
    return folder


@pytest.fixture
def session(request, tmp_path, monkeypatch):
    """A reader of the page that the test is of, where that page says it is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    name = request.node.callspec.params["name"]
    if BESIDE_DEMO in PAGES[name].read_text():
        shutil.copytree(request.getfixturevalue("demo"), tmp_path, dirs_exist_ok=True)
    return READERS.get(name, lambda _, folder: Session(folder))(request, tmp_path)


def reader_of_readme(request, folder):
    """With a checkout, and winds that the example made."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    example("wind_regimes").make_winds(folder / "winds.zarr", step=10.0, n_times=8)
    return Session(folder)


def reader_of_data(request, folder):
    """With a bucket that has the rows."""
    bucket = request.getfixturevalue("bucket")
    fsspec.filesystem("s3").put(str(folder / "data.zarr"), f"{bucket}/data.zarr", recursive=True)
    env = request.getfixturevalue("object_store").environment
    return Session(folder, {"s3://bucket": bucket}, env)


def reader_on_cluster(request, folder):
    """With a scheduler that runs, and the files of clusters."""
    shutil.copytree(ROOT / "cluster_configs", folder / "cluster_configs")
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
    request.addfinalizer(cluster.close)
    return Session(folder, {"tcp://scheduler:8786": cluster.scheduler_address})


READERS = {"README": reader_of_readme, "data": reader_of_data, "clusters": reader_on_cluster}


def example(name: str):
    found = spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_block_runs(name, session):
    blocks = code_of(PAGES[name])
    if name == "README":
        assert of_ci(blocks) == commands_of_ci()
        blocks = [block for block in blocks if not set(block.lines) & set(commands_of_ci())]
    for block in blocks:
        session.run(block)


def of_ci(blocks: list[Code]) -> list[str]:
    return [line for block in blocks if block.language == "sh" for line in block.lines][:N_OF_CI]


def commands_of_ci() -> list[str]:
    """As the awk of .ci/run finds them: the first lines within blocks of shell code."""
    found, inside = [], False
    for line in README.read_text().splitlines():
        if line.startswith("```"):
            inside = line == "```sh"
        elif inside:
            found.append(line)
    assert found[0].startswith("python -m venv .venv && ")
    assert found[1].startswith("python -m venv .venv && ")
    return found[:N_OF_CI]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_of_the_checkout(name):
    page = PAGES[name]
    targets = [t for t in LINK.findall(page.read_text()) if "://" not in t]
    assert targets or name != "README"
    for target in targets:
        assert (page.parent / target).exists(), target


def test_every_guide_is_listed_by_the_command_and_the_readme():
    files = {path.stem for path in (ROOT / "daskgmm/guides").glob("*.md")}
    assert files == set(GUIDES)
    printed = forked("guide", cwd=ROOT).stdout
    for name in GUIDES:
        assert summary_of(name) in printed
        assert f"(daskgmm/guides/{name}.md)" in README.read_text()


def test_the_command_prints_the_page_with_links_as_commands():
    done = forked("guide", "memory", cwd=ROOT)
    assert done.stdout == guide("memory") + "\n"
    assert "clusters (daskgmm guide clusters)" in done.stdout
    assert "](" not in done.stdout


def test_a_guide_that_is_not_there_is_refused_with_the_nearest():
    done = forked("guide", "memroy", cwd=ROOT)
    assert done.status == 2
    assert "did you mean memory?" in done.error


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150


def test_first_job_is_run_and_then_done(tmp_path, demo):
    (job,) = [block for block in code_of(PAGES["jobs"]) if block.language == "yaml"]
    shutil.copytree(demo, tmp_path, dirs_exist_ok=True)
    (tmp_path / "job.yaml").write_text(job.text)
    assert forked("run", "job.yaml", cwd=tmp_path).status == 0
    for name in ("job-model.zarr", "labels.zarr", "scores.zarr", "report.json", "metrics.jsonl"):
        assert (tmp_path / name).exists()
    assert "nothing to do" in forked("run", "job.yaml", cwd=tmp_path).stdout
