"""What the release's checklist derives from pyproject.toml, and files that have to say the same."""

import re
import tomllib
from pathlib import Path

import jinja2
import yaml
from packaging.requirements import Requirement

from .artifacts import versions
from .requirements import ROOT, floors, project


def test_the_version_is_said_once_though_in_three_files():
    assert len(set(versions().values())) == 1


def test_floors_hold_every_dependency_at_the_least_that_it_allows():
    held = {Requirement(line).name: Requirement(line).specifier for line in floors()}
    for line in project()["dependencies"]:
        requirement = Requirement(line)
        (version,) = (part.version for part in held[requirement.name])
        assert requirement.specifier.contains(version)


def test_the_conda_recipe_asks_for_what_pyproject_does():
    """Rendered as conda-build does, which has these two functions and a compiler's name."""
    recipe = ROOT / ".ci/conda/meta.yaml"
    rendered = jinja2.Template(recipe.read_text(encoding="utf-8")).render(
        load_file_data=lambda name, from_recipe_dir: tomllib.loads(read(recipe, name)),
        load_file_regex=lambda name, pattern, from_recipe_dir: re.search(
            pattern, read(recipe, name)
        ),
        compiler=lambda language: f"{language}-compiler",
        PYTHON="python",
    )
    found = yaml.safe_load(rendered)
    asked = {Requirement(line) for line in found["requirements"]["run"][1:]}
    wanted = set(map(Requirement, project()["dependencies"]))
    plain = {(r.name, str(r.specifier)) for r in wanted}
    assert {(r.name, str(r.specifier)) for r in asked} == plain
    assert found["package"]["version"] == versions()["daskgmm/_version.py"]


def read(recipe: Path, name: str) -> str:
    return (recipe.parent / name).read_text(encoding="utf-8")
