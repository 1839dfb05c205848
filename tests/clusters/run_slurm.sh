#!/usr/bin/env bash
# SLURM on one node, this one: its daemons, with a configuration, keys and ports of our own.
# Asserted beside the bits: workers came as batch jobs and none stays; and slurm.sbatch is queued
# again when a fit is interrupted, until it is done.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(command -v "${PYTHON:-python}")
PATH="$PATH:/usr/sbin"
work=$(mktemp -d)
chmod 755 "$work" # munge wants to trust the folders above its socket
daemons=()
# shellcheck disable=SC2329 # the trap calls it
clean() {
    kill "${daemons[@]}" 2>/dev/null || true
    wait "${daemons[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT
failed() {
    echo "$1"
    tail -n 20 "$work"/*.log "$work"/*/*.err 2>/dev/null || true
    exit 1
}
# Two ports that are free now.
read -r one two < <("$python" -c '
import socket
s = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*[x.getsockname()[1] for x in s])')

mkdir -p "$work/munge" "$work/state" "$work/spool" "$work/fit"
dd if=/dev/urandom of="$work/munge/key" bs=128 count=1 status=none
chmod 700 "$work/munge/key"
chmod 755 "$work/munge"
munged --foreground --force --key-file="$work/munge/key" --socket="$work/munge/socket" \
    --pid-file="$work/munge/pid" --seed-file="$work/munge/seed" --log-file="$work/munge.log" \
    --num-threads=2 2>"$work/munged.log" &
daemons+=($!)

host=$(hostname -s)
cat >"$work/slurm.conf" <<END
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$one
SlurmdPort=$two
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc)
PartitionName=batch Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF="$work/slurm.conf"
slurmctld -D -c 2>/dev/null &
daemons+=($!)
slurmd -D 2>/dev/null &
daemons+=($!)
for _ in $(seq 240); do
    [ "$(sinfo --noheader --format=%t 2>/dev/null)" = idle ] && break
    sleep 0.5
done
[ "$(sinfo --noheader --format=%t)" = idle ] || failed "the node did not come up"

cat >"$work/slurm.yaml" <<END
cluster: slurm
workers: 2
options:
  queue: batch
  cores: 1
  memory: 2GiB
  walltime: "00:10:00"
  job_directives_skip: [--mem]
  log_directory: $work/jobs
  shared_temp_directory: $work
  local_directory: $work
  scheduler_options: {host: 127.0.0.1}
client: {wait_seconds: 240}
END
"$python" tests/clusters/same_bits.py "$work/slurm.yaml" || failed "the fit on SLURM failed"
echo "$(find "$work/jobs" -name '*.err' | wc -l) batch jobs"
grep -q 'tls://' "$work"/jobs/*.err || failed "workers did not speak TLS"
for _ in $(seq 120); do
    [ -z "$(squeue --noheader)" ] && break
    sleep 0.5
done
[ -z "$(squeue --noheader)" ] || failed "jobs stayed behind: $(squeue)"

# A fit that is asked to stop in its midst, as --signal=B:TERM@120 does before the end.
"$python" - "$work/fit/data.zarr" <<'END'
import sys
sys.path.insert(0, "tests/clusters")
import same_bits
same_bits.write_rows(sys.argv[1])
END
cat >"$work/fit/job.yaml" <<'END'
data: data.zarr
model: {components: 4, max_iter: 150, tol: 0, stepper: plain, progressive: false}
outputs: {model: model.zarr}
checkpoint: checkpoint
END
script=$PWD/cluster_configs/slurm.sbatch
cd "$work/fit"
PATH="$(dirname "$python"):$PATH"
job=$(sbatch --parsable --cpus-per-task=1 --mem=0 "$script")
log=daskgmm-$job.log
# Five minutes at most: beside all tests, on two cores, the fit alone takes more than one.
await() { # what, condition
    for _ in $(seq 600); do
        if eval "$2"; then return; fi
        sleep 0.5
    done
    failed "$1; $(cat "$log")"
}
state() { scontrol show job "$job" | grep -q "$1"; }
# shellcheck disable=SC2016 # expanded each time that it is tried
await "slurm.sbatch did not fit" 'grep -qs "^pass 9" "$log"'
scancel --signal=TERM --batch "$job"
await "slurm.sbatch was not queued again" 'state Restarts=1'
# SLURM holds back for minutes what it has queued again; within the second that the first run
# took to end, it would take the second for the first and not launch it.
sleep 5
scontrol update JobId="$job" StartTime=now
await "slurm.sbatch did not end" 'state "JobState=COMPLETED"'
grep '^Error: interrupted\|^resumed' "$log"
daskgmm run job.yaml --outputs-model undisturbed.zarr --checkpoint elsewhere 2>/dev/null >&2
for part in weights means covariances; do
    diff -r "model.zarr/$part" "undisturbed.zarr/$part"
done
echo "slurm.sbatch: interrupted, queued again, done: every bit as if undisturbed"
