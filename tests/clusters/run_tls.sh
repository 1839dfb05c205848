#!/usr/bin/env bash
# A scheduler and two workers, started by hand on loopback with TLS, as scheduler.yaml tells.
# Asserted beside the bits: who has no certificate of theirs is not let in.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
work=$(mktemp -d)
started=()
# shellcheck disable=SC2329 # the trap calls it
clean() {
    kill -9 "${started[@]}" 2>/dev/null || true
    wait "${started[@]}" 2>/dev/null || true # or bash tells that they were killed
    rm -rf "$work"
}
trap clean EXIT

certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=dask -days 1 \
        -keyout "$work/$1-key.pem" -out "$work/$1-cert.pem" 2>/dev/null
}
certificate ours
certificate theirs
tls=(--tls-ca-file "$work/ours-cert.pem" --tls-cert "$work/ours-cert.pem"
    --tls-key "$work/ours-key.pem")

"$python" -m dask scheduler --protocol tls --host 127.0.0.1 --port 0 --no-dashboard \
    --scheduler-file "$work/scheduler.json" "${tls[@]}" 2>"$work/scheduler.log" &
started+=($!)
until [ -s "$work/scheduler.json" ]; do sleep 0.2; done
address=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' \
    "$work/scheduler.json")
for _ in 1 2; do
    "$python" -m dask worker "$address" --nthreads 1 --no-nanny --no-dashboard \
        --local-directory "$work" "${tls[@]}" 2>>"$work/workers.log" &
    started+=($!)
done

configuration() {
    printf '%s\n' "cluster: scheduler" "address: $address" \
        "tls: {ca: ours-cert.pem, cert: $1-cert.pem, key: $1-key.pem}" \
        "client: {timeout: 5}" >"$work/$1.yaml"
}
configuration ours
configuration theirs
"$python" tests/clusters/same_bits.py "$work/ours.yaml"

if refused=$("$python" tests/clusters/same_bits.py "$work/theirs.yaml" 2>&1); then
    echo "a stranger's certificate was accepted"
    exit 1
fi
grep 'no connection to tls://' <<<"$refused"
