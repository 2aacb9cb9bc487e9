#!/usr/bin/env bash
# Everything that must hold before a change lands, in the order of how fast it fails. Runs all of it, then says what failed.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=()
start=$SECONDS

step() {
    local name="$1" from=$SECONDS
    shift
    if "$@"; then printf 'ok      %-10s %s s\n' "$name" $((SECONDS - from))
    else printf 'failed  %-10s %s s   (again: %s)\n' "$name" $((SECONDS - from)) "${*/fast_tests/make fast}"; failed+=("$name")
    fi
}
# pytest answers 5 where there is no test at all; that is no failure of a tree without tests.
fast_tests() { "$bin/pytest" -q -n 2 --dist loadgroup -m "not slow"; local rc=$?; [ $rc = 0 ] || [ $rc = 5 ]; }

# Where there is no Go, `make cometbft` brings its own, and whoever changes the verifier has it.
go_style() { ! command -v gofmt > /dev/null || [ -z "$(gofmt -l src/yilian/engines/cometbft/verifier)" ]; }

step style   "$bin/ruff" check --quiet .
step format  "$bin/ruff" format --check --quiet .
step go      go_style
step types   "$bin/mypy" --no-error-summary
step floors  "$bin/lint-imports" --no-logo --cache-dir .cache/import-linter
step house   "$bin/python" tools/tidy.py
step tables  "$bin/python" tools/contract_tables.py --check
step tests   fast_tests

if [ ${#failed[@]} -gt 0 ]; then echo "check failed: ${failed[*]} ($((SECONDS - start)) s)"; exit 1; fi
echo "check passed ($((SECONDS - start)) s)"
