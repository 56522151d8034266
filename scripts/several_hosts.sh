#!/usr/bin/env bash
# One run on multiple hosts. Run the same command on each, except for INDEX, the host's position in HOSTS, from 0:
#   HOSTS=10.0.0.1:2222,10.0.0.2:2222 INDEX=0 scripts/several_hosts.sh --dataset=cifar10lt --workdir=/shared/run
# --workdir must be a folder that all of them can access; the data must be at the same --data_dir on each. A host whose
# process died rejoins with the same command.
set -euo pipefail
: "${HOSTS:?HOSTS must list host:port of every host, comma-separated}"
: "${INDEX:?INDEX must be the position of this host in HOSTS, from 0}"
workers="\"${HOSTS//,/\",\"}\""
export TF_CONFIG="{\"cluster\": {\"worker\": [$workers]}, \"task\": {\"type\": \"worker\", \"index\": $INDEX}}"
exec "${PYTHON:-python}" "$(dirname "$0")/../run.py" --strategy=multi_worker "$@"
