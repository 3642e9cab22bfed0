// Package clitest has what the scripts that test the commands share.
package clitest

import (
	"fmt"

	"github.com/rogpeppe/go-internal/testscript"
)

// Commands returns the commands of scripts, as testscript.Params.Cmds wants them:
//
//	exits CODE COMMAND…    run COMMAND, which must end with CODE
//	until REGEXP COMMAND…  run COMMAND, which goes on for ever, until its standard
//	                       output matches; then end it with SIGTERM: it must exit 0
//
// Afterwards stdout and stderr are those of COMMAND.
func Commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "until": until}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	shell(ts, args, `"$@"; code=$?; test $code = "$want" || { echo "exit code is $code, not $want" >&2; exit 1; }`)
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND…")
	}
	shell(ts, args, `
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
"$@" > "$out" & pid=$!
for i in $(seq 300); do
	if grep -Eq -e "$want" "$out"; then
		kill -TERM $pid; wait $pid; code=$?
		cat "$out"; exit $code
	fi
	kill -0 $pid 2>/dev/null || { cat "$out"; echo "ended before it matched" >&2; exit 1; }
	sleep 0.1
done
kill -KILL $pid; cat "$out"; echo "no match in 30 s" >&2; exit 1`)
}

// shell runs script with the first of args as $want and the others as "$@".
func shell(ts *testscript.TestScript, args []string, script string) {
	argv := append([]string{"-c", `want="$1"; shift` + "\n" + script, "sh"}, args...)
	if err := ts.Exec("sh", argv...); err != nil {
		ts.Fatalf("%s", fmt.Sprintf("%v: %v: %v", args, err, ts.ReadFile("stderr")))
	}
}
