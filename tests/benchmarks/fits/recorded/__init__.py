"""Fits, recorded in a process of its own, with any checkout of daskgmm.

Uses only public names of daskgmm, and nothing else of this repository, so that it runs with an
older or newer package as well.
"""
