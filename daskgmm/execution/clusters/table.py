"""Every kind of cluster that a configuration can ask for: the table KINDS.

A new kind is one row in :data:`KINDS`, one commented file in ``cluster_configs/`` and,
where its library is not ours, one extra in ``pyproject.toml``. Its class is fixed in the
row: a configuration chooses among rows and never names code to import.
"""

from __future__ import annotations

import logging

from daskgmm.configuration import (
    MAPPING,
    SECONDS,
    SIZE_OR_AUTO,
    TEXT_OF_TEXT,
    TEXTS,
    Schema,
)
from daskgmm.execution.clusters.config import HOSTS, URL
from daskgmm.execution.clusters.kinds import (
    ALLOWED_FAILURES,
    ExistingScheduler,
    Kind,
    StartedCluster,
)
from daskgmm.execution.clusters.security import Protection
from daskgmm.execution.clusters.ssh import SSHHosts
from daskgmm.rules import COUNT, FLAG, SIZE, TEXT, one_of

__all__ = ["KINDS"]

_LOCAL: Schema = {
    "threads_per_worker": COUNT,
    "memory_limit": SIZE_OR_AUTO,
    "local_directory": TEXT,
    "processes": FLAG,
    "dashboard_address": TEXT,
}

_SCHEDULER: Schema = {
    "host": TEXT,
    "interface": TEXT,
    "port": COUNT,
    "dashboard_address": TEXT,
}

_BATCH: Schema = {
    "queue": TEXT,
    "cores": COUNT,
    "memory": SIZE,
    "processes": COUNT,
    "walltime": TEXT,
    "interface": TEXT,
    "local_directory": TEXT,
    "log_directory": TEXT,
    "shared_temp_directory": TEXT,
    "job_name": TEXT,
    "job_extra_directives": TEXTS,
    "job_directives_skip": TEXTS,
    "job_script_prologue": TEXTS,
    "worker_extra_args": TEXTS,
    "death_timeout": SECONDS,
    "python": TEXT,
    "shebang": TEXT,
    "scheduler_options": _SCHEDULER,
}

_KUBERNETES: Schema = {
    "name": TEXT,
    "namespace": TEXT,
    "image": TEXT,
    "resources": {"requests": MAPPING, "limits": MAPPING},
    "env": TEXT_OF_TEXT,
    "worker_command": TEXT,
    "port_forward_cluster_ip": FLAG,
    "scheduler_service_type": TEXT,
    "idle_timeout": COUNT,
    "resource_timeout": COUNT,
    "custom_cluster_spec": TEXT,
}

_GATEWAY: Schema = {
    "address": URL,
    "proxy_address": TEXT,
    "public_address": URL,
    # Dask Gateway would import any other name.
    "auth": one_of("basic", "kerberos", "jupyterhub"),
    "cluster_options": MAPPING,
}

_SSH: Schema = {
    "hosts": HOSTS,
    "connect_options": {
        "username": TEXT,
        "port": COUNT,
        "client_keys": TEXTS,
        "known_hosts": TEXT,
        "connect_timeout": SECONDS,
    },
    "remote_python": TEXT,
    "worker_options": {
        "n_workers": COUNT,
        "nthreads": COUNT,
        "memory_limit": SIZE_OR_AUTO,
        "local_directory": TEXT,
        "host": TEXT,
        "interface": TEXT,
    },
    "scheduler_options": {**_SCHEDULER, "idle_timeout": TEXT},
}

_EC2: Schema = {
    "region": TEXT,
    "availability_zone": TEXT,
    "vpc": TEXT,
    "subnet_id": TEXT,
    "security_groups": TEXTS,
    "use_private_ip": FLAG,
    "ami": TEXT,
    "bootstrap": FLAG,
    "extra_bootstrap": TEXTS,
    "instance_type": TEXT,
    "scheduler_instance_type": TEXT,
    "worker_instance_type": TEXT,
    "spot": FLAG,
    "filesystem_size": COUNT,
    "key_name": TEXT,
    "iam_instance_profile": TEXT_OF_TEXT,
    "instance_tags": TEXT_OF_TEXT,
    "volume_tags": TEXT_OF_TEXT,
    "docker_image": TEXT,
    "docker_args": TEXT,
    "env_vars": TEXT_OF_TEXT,
    "worker_options": {"nthreads": COUNT, "memory_limit": SIZE_OR_AUTO},
    "scheduler_options": {"idle_timeout": TEXT},
}

# A dashboard has no password, and a fixed port is taken as soon as two people fit on one
# machine: it listens on loopback, at a port that the system chooses.
_DASHBOARD = {"dashboard_address": "127.0.0.1:0"}

# Workers read their TLS files from the shared folder; without one they are written to
# wherever the fit was started.
_BATCH_DEFAULTS = {"shared_temp_directory": "$HOME", "scheduler_options": _DASHBOARD}

# A scheduler elsewhere does not see that the driver was killed; it ends when it is idle.
_ENDS_BY_ITSELF = {**_DASHBOARD, "idle_timeout": "1h"}

KINDS: dict[str, Kind] = {
    "local": StartedCluster(
        class_path="daskgmm.execution.clusters.local:LocalCluster",
        options=_LOCAL,
        # It binds to loopback by itself; that no option says otherwise keeps it there.
        defaults={
            "threads_per_worker": 1,
            "silence_logs": logging.WARNING,
            **_DASHBOARD,
        },
        look_at="the workers' messages above; a script needs if __name__ == '__main__':",
        wait_seconds=60.0,
        protection=Protection.LOOPBACK,
    ),
    "ssh": SSHHosts(
        class_path="distributed:SSHCluster",
        extra="ssh",
        options=_SSH,
        defaults={
            "connect_options": {"connect_timeout": 30},
            "scheduler_options": {"protocol": "tls", **_ENDS_BY_ITSELF},
            "silence_logs": logging.WARNING,
        },
        look_at="the messages above, and whether the hosts reach each other's ports",
        wait_seconds=60.0,
    ),
    "slurm": StartedCluster(
        class_path="dask_jobqueue:SLURMCluster",
        extra="slurm",
        options={**_BATCH, "account": TEXT, "job_cpu": COUNT, "job_mem": TEXT},
        defaults=_BATCH_DEFAULTS,
        look_at="squeue --me and the logs in options.log_directory",
        command="sbatch",
    ),
    "pbs": StartedCluster(
        class_path="dask_jobqueue:PBSCluster",
        extra="pbs",
        options={**_BATCH, "account": TEXT, "resource_spec": TEXT},
        defaults=_BATCH_DEFAULTS,
        look_at="qstat -u $USER and the logs in options.log_directory",
        command="qsub",
    ),
    "lsf": StartedCluster(
        class_path="dask_jobqueue:LSFCluster",
        extra="lsf",
        options={
            **_BATCH,
            "project": TEXT,
            "ncpus": COUNT,
            "mem": COUNT,
            "lsf_units": one_of("kb", "mb", "gb", "tb"),
            "use_stdin": FLAG,
        },
        defaults=_BATCH_DEFAULTS,
        look_at="bjobs and the logs in options.log_directory",
        command="bsub",
    ),
    "kubernetes": StartedCluster(
        class_path="dask_kubernetes.operator:KubeCluster",
        extra="kubernetes",
        options=_KUBERNETES,
        # Its progress is for a terminal. Its scheduler is in a pod, where only the environment
        # reaches it.
        defaults={
            "quiet": True,
            "env": {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(ALLOWED_FAILURES)},
        },
        look_at="kubectl get daskclusters,pods and kubectl describe pod",
        protection=Protection.NONE,
    ),
    "gateway": StartedCluster(
        class_path="dask_gateway:GatewayCluster",
        extra="gateway",
        options=_GATEWAY,
        defaults={},
        look_at="the clusters that the gateway lists, and its administrators",
        protection=Protection.BY_ITSELF,
        takes_n_workers=False,
        unpacked="cluster_options",
    ),
    "cloud-ec2": StartedCluster(
        class_path="dask_cloudprovider.aws:EC2Cluster",
        extra="cloud",
        options=_EC2,
        defaults={"scheduler_options": _ENDS_BY_ITSELF, "silence_logs": logging.WARNING},
        look_at="the instances' console output: aws ec2 get-console-output",
        wait_seconds=900.0,
    ),
    "scheduler": ExistingScheduler(),
}
"""Every kind of cluster that a configuration can ask for."""
