"""Snapshots: dataclasses as files, from which an interrupted fit goes on."""
