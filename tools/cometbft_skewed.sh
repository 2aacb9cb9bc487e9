#!/usr/bin/env bash
# Builds, for tests, the pinned CometBFT with a wall clock that is wrong by YILIAN_TEST_SKEW_S seconds, into .tools/bin/cometbft-skewed.
#
# Go reads the clock through the vDSO and takes no LD_PRELOAD, and Linux time namespaces leave the wall clock alone; so the standard
# library's own time.Now is overlaid: every clock that the program reads is off, as on a machine whose clock is off. Monotonic time is not.
# Usage    tools/cometbft_skewed.sh         needs Go; a second run of the same Go and version ends at once
set -euo pipefail
cd "$(dirname "$0")/.."
version=v0.38.25
stop() { printf 'stopped: %s\n' "$*" >&2; exit 1; }

go=$(command -v go || find "$PWD/.tools/go" -path '*/bin/go' -type f 2>/dev/null | head -1)
[ -n "$go" ] || stop "there is no Go here; run make cometbft, which installs it."
made="$version $("$go" version)"
stamp="$PWD/.tools/cometbft-skewed.stamp"
if [ -x .tools/bin/cometbft-skewed ] && [ "$(cat "$stamp" 2>/dev/null)" = "$made" ]; then exit 0; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
clock="$("$go" env GOROOT)/src/time/time.go"
sed 's/^\tsec, nsec, mono := runtimeNow()$/&\n\tsec += skewS/' "$clock" > "$work/time.go"
[ "$(grep -c '^	sec += skewS$' "$work/time.go")" -ge 1 ] || stop "time.Now of $made reads the clock in another way than this script knows."
cat >> "$work/time.go" <<'GO'

var skewS = readSkew()

// readSkew returns the seconds by which this process's wall clock is wrong.
func readSkew() (s int64) {
	text, _ := syscall.Getenv("YILIAN_TEST_SKEW_S")
	sign := int64(1)
	for n := 0; n < len(text); n++ {
		if n == 0 && text[n] == '-' {
			sign = -1
			continue
		}
		if text[n] < '0' || text[n] > '9' {
			panic("YILIAN_TEST_SKEW_S is no whole number of seconds: " + text)
		}
		s = s*10 + int64(text[n]-'0')
	}
	return sign * s
}
GO
sed -i 's/^import ($/import (\n\t"syscall"/' "$work/time.go"
printf '{"Replace": {"%s": "%s"}}\n' "$clock" "$work/time.go" > "$work/overlay.json"
echo "building CometBFT $version with a clock that can be wrong (a minute or two the first time) ..." >&2
GOBIN="$work" GOFLAGS=-mod=mod "$go" install -overlay "$work/overlay.json" "github.com/cometbft/cometbft/cmd/cometbft@$version" >&2 \
    || stop "it could not be built; the lines above are Go's."
mv "$work/cometbft" .tools/bin/cometbft-skewed
echo "$made" > "$stamp"
