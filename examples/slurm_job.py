"""A fit as a SLURM job that outlives its walltime, from a job file and the batch script of this repository.

    python examples/slurm_job.py                                # here, as SLURM would run it: seconds
    python examples/slurm_job.py --rows 200000000 --submit      # full size: 6.4 GB, through sbatch

It writes data.zarr and job.yaml into the folder slurm-job, and beside them a copy of
cluster_configs/slurm.sbatch, which runs `daskgmm run job.yaml`. With --submit the script goes to
sbatch; without, to bash. Interrupted, it is run again, and goes on from the checkpoint. Workers
as jobs of their own need one more line in job.yaml, `cluster: slurm.yaml`.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dask.array as da

CONFIGS = Path(__file__).parents[1] / "cluster_configs"
JOB = """\
data: data.zarr
model: {components: 4, seed: 0}
outputs: {model: model.zarr, labels: labels.zarr, metrics: metrics.jsonl}
checkpoint: checkpoint
"""


def make_rows(path: Path, n_rows: int) -> None:
    """Write rows of four components, chunk by chunk."""
    rng = da.random.default_rng(0)
    rows = min(n_rows, 1_000_000)
    corner = rng.integers(0, 2, size=(n_rows, 2), chunks=(rows, 2))
    normal = rng.normal(size=(n_rows, 4), chunks=(rows, 4))
    (normal + 5 * da.hstack([corner, corner[:, ::-1]])).rechunk((rows, 4)).to_zarr(
        path, overwrite=True
    )


def main() -> None:
    """Write the job, and run it or submit it; then draw how it converged."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rows", type=int, default=40_000)
    options.add_argument("--folder", type=Path, default=Path("slurm-job"))
    options.add_argument("--submit", action="store_true", help="give the job to sbatch")
    given = options.parse_args()
    folder = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data.zarr").exists():  # a job refuses other data than it began with
        make_rows(folder / "data.zarr", given.rows)
    (folder / "job.yaml").write_text(JOB)
    shutil.copy(CONFIGS / "slurm.sbatch", folder)
    if given.submit:
        subprocess.run(["sbatch", "slurm.sbatch"], cwd=folder, check=True)
        print(f"submitted; `squeue --me` tells of it, and the results will be in {folder}")
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where daskgmm is
    subprocess.run(
        ["bash", "slurm.sbatch"], cwd=folder, env={**os.environ, "PATH": path}, check=True
    )
    for kind, *data in (["convergence"], ["pairs", "data.zarr"]):
        words = ["plot", kind, "model.zarr", *data, "--output", f"{kind}.png", "--overwrite"]
        subprocess.run([sys.executable, "-m", "daskgmm", *words], cwd=folder, check=True)
    print(f"model, labels and pictures: {folder}")


if __name__ == "__main__":
    main()
