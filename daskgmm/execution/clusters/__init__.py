"""Clusters: where the tasks of a fit run, named by an address or by a YAML file."""

from daskgmm.execution.clusters.opening import open_cluster, read_config

__all__ = ["open_cluster", "read_config"]
