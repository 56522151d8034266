#!/usr/bin/env bash
# One run on several hosts. On each of them the same command except INDEX, the host's place in HOSTS, counted from 0:
#   HOSTS=10.0.0.1:2222,10.0.0.2:2222 INDEX=0 scripts/several_hosts.sh --dataset=cifar10lt --workdir=/shared/run
# --workdir must be a folder that all of them reach; data must lie at the same --data_dir on each. A host whose process
# died joins again by the same command.
set -euo pipefail
: "${HOSTS:?HOSTS must list host:port of every host, comma-separated}"
: "${INDEX:?INDEX must be the place of this host in HOSTS, from 0}"
workers="\"${HOSTS//,/\",\"}\""
export TF_CONFIG="{\"cluster\": {\"worker\": [$workers]}, \"task\": {\"type\": \"worker\", \"index\": $INDEX}}"
exec "${PYTHON:-python}" "$(dirname "$0")/../run.py" --strategy=multi_worker "$@"
