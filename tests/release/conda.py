"""The recipe for conda, as rattler-build reads it; what it builds with is not on PyPI."""

from __future__ import annotations

from pathlib import Path

from .artifacts import run
from .requirements import ROOT

RECIPE = ROOT / ".ci/conda/recipe.yaml"
PLATFORMS = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64")
_RENDER = """
import sys
from rattler_build import PlatformConfig, RenderConfig, Stage0Recipe, VariantConfig
recipe = Stage0Recipe.from_file(sys.argv[1])
for platform in sys.argv[2:]:
    config = RenderConfig(platform=PlatformConfig(target_platform=platform))
    for variant in recipe.render(VariantConfig(), config):
        print(platform, variant.recipe.package.name, variant.recipe.package.version)
"""


def rendered(python: Path) -> list[str]:
    """What the recipe would build, a line for each platform.

    Parameters
    ----------
    python : Path
        An interpreter that has py-rattler-build.
    """
    return run(python, "-c", _RENDER, RECIPE, *PLATFORMS).splitlines()
