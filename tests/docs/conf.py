"""Sphinx's settings; ``python -m tests.docs`` lays the sources out and builds them."""

from sphinx.util.nodes import make_refnode

from daskgmm._version import __version__

project = "daskgmm"
author = "the authors of daskgmm"
copyright = "the authors of daskgmm"
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
]
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["daskgmm.css"]
html_theme = "pydata_sphinx_theme"
html_title = f"daskgmm {version}"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 5,
}
html_sidebars = {"index": [], "commands": [], "changelog": []}
pygments_style = "tango"

# Types are in the docstrings, in words: those of signatures would say them again.
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False  # the page of a class has its methods in full
numpydoc_class_members_toctree = False
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

nitpicky = True
# What other packages document: their pages are not asked for, so that a build needs no network.
nitpick_ignore_regex = [
    ("py:.*", rf"{package}\..*")
    for package in ("sklearn", "numpy", "dask", "xarray", "zarr", "matplotlib", "pandas")
]
# Inner modules have no page; docstrings name them for readers of the code.
nitpick_ignore_regex += [("py:mod", r"daskgmm\..*"), ("py:data", r"daskgmm\..*")]


def _by_short_name(app, env, node, contnode):
    """The page of an object that a docstring names without its module, as code in it does."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    found = [name for name in domain.objects if name.endswith("." + node["reftarget"])]
    if not found:
        return None
    entry = domain.objects[min(found, key=len)]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode)


def _is_inherited(app, what, name, found, skip, options):
    """Leave out what scikit-learn documents."""
    return True if str(getattr(found, "__module__", "")).startswith("sklearn") else None


def setup(app):
    """Have Sphinx ask both."""
    app.connect("missing-reference", _by_short_name)
    app.connect("autodoc-skip-member", _is_inherited)
