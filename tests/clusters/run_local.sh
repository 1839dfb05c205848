#!/usr/bin/env bash
# Local clusters: processes, threads, and a number of workers that follows the work.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

printf 'cluster: local\nadaptive: {minimum: 1, maximum: 2}\n' >"$work/adaptive.yaml"
"${PYTHON:-python}" tests/clusters/same_bits.py \
    cluster_configs/local.yaml cluster_configs/local-threads.yaml "$work/adaptive.yaml"
