#!/usr/bin/env bash
# Resolves requirements/*.in into requirements/*.txt with a hash for every file of every package (ADR-0002).
#
# Usage    tools/lock.sh [--upgrade]      without --upgrade the versions in the locks are kept where they still fit
# The locks name packages, versions and hashes only: no address of a registry. They fit Python 3.11 and newer on any platform.
set -euo pipefail
cd "$(dirname "$0")/.."

resolve() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-annotate --no-header --no-emit-index-url --no-emit-find-links "$@"
}
resolve "$@" requirements/run.in --output-file requirements/run.txt
# The second lock holds the first one's versions, so that tests run on what a node runs on.
resolve "$@" requirements/dev.in --constraint requirements/run.txt --output-file requirements/dev.txt
resolve "$@" requirements/go.in --output-file requirements/go.txt
if grep -n '://' requirements/*.txt; then
    echo "stopped: a lock names an address; see above" >&2
    exit 1
fi
grep -c '^[a-z0-9]' requirements/*.txt
