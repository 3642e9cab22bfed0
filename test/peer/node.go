package peer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/logtest"
)

// Node is a server in JavaScript, in a process of its own: the script server.js of the
// folder server beside the test. Its settings are the script's argument, as JSON. It says
// "ready" on stdout when it listens. It takes commands on stdin, one JSON object a line,
// and answers each on stdout by a line that begins with "answer ". Other lines are noise.
type Node struct {
	cmd *exec.Cmd

	mu      sync.Mutex // one command at a time
	in      io.WriteCloser
	answers chan string
}

const (
	nodeStart  = 3 * time.Minute // it loads 30 MB of scripts and more, beside others that do
	nodeAnswer = 30 * time.Second
)

// StartNode starts a server and waits until it listens. The caller kills it.
func StartNode(t testing.TB, settings any) *Node {
	t.Helper()
	arg, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{cmd: exec.Command("node", "server.js", string(arg)), answers: make(chan string, 16)}
	n.cmd.Dir = "server"
	var noise logtest.Buffer
	n.cmd.Stderr = &noise
	if n.in, err = n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("server/node_modules"); err != nil {
		t.Fatalf("the server is not installed: run scripts/setup (%v)", err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{}, 1)
	go func() {
		defer close(n.answers)
		defer close(ready)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "answer "); ok {
				n.answers <- text
			} else if lines.Text() == "ready" {
				ready <- struct{}{}
			} else {
				_, _ = fmt.Fprintln(&noise, lines.Text()) // it takes everything
			}
		}
	}()
	select {
	case _, ok := <-ready:
		if ok {
			return n
		}
	case <-time.After(nodeStart):
	}
	n.Kill()
	t.Fatalf("the server does not start: %s", noise.String())
	return nil
}

// Kill ends the process at once, as a power cut does. It may be called again.
func (n *Node) Kill() {
	_ = n.cmd.Process.Kill() // it may have been killed before
	_ = n.cmd.Wait()
}

// Signal sends the process a signal.
func (n *Node) Signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Do has the server do something, and returns what it answers.
func (n *Node) Do(t testing.TB, command map[string]any) string {
	t.Helper()
	line, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, err := n.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	select {
	case answer, ok := <-n.answers:
		if !ok {
			t.Fatalf("%s: the server has ended", line)
		}
		return answer
	case <-time.After(nodeAnswer):
		t.Fatalf("%s: no answer", line)
	}
	return ""
}
