#!/usr/bin/env bash
# SSH to this machine: a daemon of our own on a loopback port, with keys made for this run.
# Asserted beside the bits: workers came by SSH, and neither they nor the run's key stay behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(command -v "${PYTHON:-python}")
sshd=$(command -v sshd || echo /usr/sbin/sshd)
[ -x "$sshd" ] || { echo "no sshd"; exit 1; }
# Workers have the environment of a login, and OpenBLAS other bits for another processor.
unset OPENBLAS_CORETYPE NPY_DISABLE_CPU_FEATURES
work=$(mktemp -d)
daemon=
# shellcheck disable=SC2329 # the trap calls it
clean() {
    if [ -n "$daemon" ]; then kill "$daemon"; fi
    rm -rf "$work"
}
trap clean EXIT

port=$("$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
ssh-keygen -q -t ed25519 -N '' -f "$work/host_key"
ssh-keygen -q -t ed25519 -N '' -f "$work/user_key"
cp "$work/user_key.pub" "$work/authorized_keys"
echo "[127.0.0.1]:$port $(cut -d ' ' -f 1-2 "$work/host_key.pub")" >"$work/known_hosts"
if [ "$(id -u)" = 0 ]; then mkdir -p /run/sshd; fi # its privileged half wants this folder
"$sshd" -D -e -f /dev/null -p "$port" -h "$work/host_key" -E "$work/sshd.log" \
    -o ListenAddress=127.0.0.1 -o AuthorizedKeysFile="$work/authorized_keys" \
    -o PasswordAuthentication=no -o UsePAM=no -o StrictModes=no -o PidFile=none \
    -o PermitRootLogin=prohibit-password &
daemon=$!

configuration() {
    printf '%s\n' "cluster: ssh" "options:" \
        "  hosts: [127.0.0.1, 127.0.0.1, 127.0.0.1]" \
        "  connect_options: {port: $port, client_keys: [$1], known_hosts: known_hosts}" \
        "  remote_python: $python" "  worker_options: {nthreads: 1}" >"$work/$1.yaml"
}
configuration user_key
configuration host_key # a key that is not authorised
"$python" tests/clusters/same_bits.py "$work/user_key.yaml"
echo "$(grep -c 'Accepted publickey' "$work/sshd.log") sessions by SSH"

if refused=$("$python" tests/clusters/same_bits.py "$work/host_key.yaml" 2>&1); then
    echo "a stranger's key was accepted"
    exit 1
fi
grep 'ssh 127.0.0.1: cannot connect' <<<"$refused"

if [ -n "$(find /tmp -maxdepth 1 -regextype egrep -regex '/tmp/daskgmm-[0-9a-f]{32}')" ]; then
    echo "left behind in /tmp: the run's certificates"
    exit 1
fi
if pgrep -f "$python -m distributed.cli.dask_spec"; then
    echo "left behind: these processes"
    exit 1
fi
