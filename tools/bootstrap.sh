#!/usr/bin/env bash
# Makes .venv and installs the locked, hash-checked packages into it.
#
# Usage    tools/bootstrap.sh run|dev      run: what a node needs; dev: also what checks and tests need
# Needs    Python 3.11 or newer; PYTHON=/path/to/python chooses one. Nothing else: see ADR-0003.
# A second run compares a stamp and ends at once.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted="${1:?run or dev}"
lock="requirements/$wanted.txt"
venv=.venv
say() { printf '%s\n' "$*" >&2; }
stop() { say "stopped: $*"; exit 1; }

[ -f "$lock" ] || stop "there is no $lock; the two kinds of environment are run and dev."

# What an environment was made from: the lock, the project's own metadata, the script, the place it stands in.
fingerprint() { { pwd; cat "requirements/$1.txt" pyproject.toml tools/bootstrap.sh; } | sha256sum | cut -d' ' -f1; }
made() { [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.made-$1" 2>/dev/null)" = "$(fingerprint "$1")" ]; }

# dev holds everything that run holds.
if made "$wanted" || { [ "$wanted" = run ] && made dev; }; then exit 0; fi

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }
# The distribution's own comes before another in PATH: it is built with profiles, and one that is not costs this project a quarter more
# CPU (docs/performance.md). One that can make an environment at once comes before one whose venv module has to be installed.
find_python() {
    local name fits
    if [ -n "${PYTHON:-}" ] && command -v "$PYTHON" >/dev/null 2>&1 && new_enough "$PYTHON"; then command -v "$PYTHON"; return; fi
    for fits in has_venv true; do
        for name in /usr/bin/python3.11 python3.11 /usr/bin/python3 python3 python3.12 python3.13 python3.14; do
            if command -v "$name" >/dev/null 2>&1 && new_enough "$name" && "$fits" "$name"; then command -v "$name"; return; fi
        done
    done
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo -n "$@"
    else return 1
    fi
}

# Debian splits ensurepip off into python3-venv. Where it is missing, the package is installed if we may.
make_venv() {
    local python="$1"
    if has_venv "$python" && "$python" -m venv "$venv" >/dev/null 2>&1; then return; fi
    rm -rf "$venv"
    command -v apt-get >/dev/null 2>&1 || stop "$python cannot make virtual environments: install its venv module (on Debian: apt-get install python3-venv), then run the same command again."
    say "installing python3-venv (Debian keeps it apart from python3) ..."
    { as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null 2>&1 \
        || { as_root apt-get update -qq >/dev/null 2>&1 && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null 2>&1; }; } \
        || stop "python3-venv is missing and could not be installed; run as root: apt-get install python3-venv, then the same command again."
    "$python" -m venv "$venv" || stop "$python -m venv failed although python3-venv is there; the lines above say why."
}

# Two commands at once (make check beside make test) take turns.
if command -v flock >/dev/null 2>&1; then
    mkdir -p .cache
    exec 9>.cache/bootstrap.lock
    flock 9
    if made "$wanted" || { [ "$wanted" = run ] && made dev; }; then exit 0; fi
fi

start=$SECONDS
if ! { [ -x "$venv/bin/python" ] && new_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
    python="$(find_python)" || stop "Python 3.11 or newer is needed and was not found; install it (on Debian: apt-get install python3 python3-venv) or name one: make PYTHON=/path/to/python ..."
    say "making $venv with $python ($("$python" -c 'import platform; print(platform.python_version())')) ..."
    rm -rf "$venv"
    make_venv "$python"
fi

count=$(grep -c '^[a-z0-9]' "$lock")
say "installing $count packages from $lock, each checked against its hash (the first time only) ..."
pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input)
if ! "${pip[@]}" install --quiet --require-hashes --only-binary :all: -r "$lock" >&2; then
    stop "the packages of $lock could not be installed. The lines above are pip's; without a network, point pip at a folder of wheels (PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR), then run the same command again."
fi
# The project itself, from here: nothing is fetched, because its build tool came with the lock.
"${pip[@]}" install --quiet --no-deps --no-build-isolation --editable . >&2 \
    || stop "the project itself could not be installed into $venv; the lines above are pip's."

rm -f "$venv"/.made-*
fingerprint "$wanted" > "$venv/.made-$wanted"
say "ready in $((SECONDS - start)) s"
