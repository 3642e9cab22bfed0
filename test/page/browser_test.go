package page

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// browser is one tab of a headless Chromium, steered by the DevTools protocol.
type browser struct {
	conn    *websocket.Conn
	session string
	dir     string

	mu      sync.Mutex
	next    int
	waiting map[int]chan message
	told    []string // errors of the console
}

type message struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
	Session string `json:"sessionId,omitempty"`
}

const patience = 30 * time.Second // of one call; the machine may be loaded

// startBrowser starts Chromium with an empty tab; it ends with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	b := &browser{dir: t.TempDir(), waiting: map[int]chan message{}}
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
		"--remote-debugging-port=0", "--user-data-dir="+b.dir, "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it and its children, which may have ended
		_ = cmd.Wait()
	})
	var port, path string
	peer.WaitFor(t, patience, "chromium's DevTools", func() bool {
		text, err := os.ReadFile(filepath.Join(b.dir, "DevToolsActivePort"))
		if err != nil {
			return false
		}
		port, path, _ = strings.Cut(strings.TrimSpace(string(text)), "\n")
		return path != ""
	})
	conn, _, err := websocket.DefaultDialer.Dial("ws://127.0.0.1:"+port+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.conn = conn
	read := make(chan struct{})
	go func() { defer close(read); b.read() }()
	t.Cleanup(func() {
		_ = conn.Close() // ends read
		<-read
	})
	var target struct {
		ID string `json:"targetId"`
	}
	b.call(t, "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct {
		Session string `json:"sessionId"`
	}
	b.call(t, "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached)
	b.session = attached.Session
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(t, domain+".enable", nil, nil)
	}
	return b
}

// read gives answers to who waits for them and keeps the console's errors.
func (b *browser) read() {
	for {
		var m message
		if err := b.conn.ReadJSON(&m); err != nil {
			return // the connection was closed
		}
		b.mu.Lock()
		if ch := b.waiting[m.ID]; m.ID != 0 && ch != nil {
			delete(b.waiting, m.ID)
			ch <- m
		}
		switch text := string(m.Params); m.Method {
		case "Runtime.exceptionThrown":
			b.told = append(b.told, text)
		case "Runtime.consoleAPICalled", "Log.entryAdded":
			if strings.Contains(text, `"error"`) || strings.Contains(text, `"warning"`) {
				b.told = append(b.told, text)
			}
		}
		b.mu.Unlock()
	}
}

// console returns the errors of the console since it was asked last.
func (b *browser) console() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.told
	b.told = nil
	return told
}

func (b *browser) call(t *testing.T, method string, params, result any) {
	t.Helper()
	text, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	if params == nil {
		text = []byte("{}")
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.waiting[id] = answer
	err = b.conn.WriteJSON(message{ID: id, Method: method, Params: text, Session: b.session})
	b.mu.Unlock()
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result == nil {
			return
		}
		if err := json.Unmarshal(m.Result, result); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	case <-time.After(patience):
		t.Fatalf("%s: no answer", method)
	}
}

// eval returns what a script comes to.
func eval[T any](t *testing.T, b *browser, script string) (value T) {
	t.Helper()
	var r struct {
		Result    struct{ Value json.RawMessage } `json:"result"`
		Exception json.RawMessage                 `json:"exceptionDetails"`
	}
	b.call(t, "Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true}, &r)
	if r.Exception != nil {
		t.Fatalf("%s\n%s", script, r.Exception)
	}
	if err := json.Unmarshal(r.Result.Value, &value); err != nil {
		t.Fatalf("%s: %s: %v", script, r.Result.Value, err)
	}
	return value
}

// until waits for a script to come to true.
func until(t *testing.T, b *browser, what, script string) {
	t.Helper()
	peer.WaitFor(t, patience, what, func() bool { return eval[bool](t, b, "Boolean("+script+")") })
}

// screen sets the size and the colours.
func (b *browser) screen(t *testing.T, width, height int, scheme string) {
	t.Helper()
	b.call(t, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.call(t, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// key presses a key.
func (b *browser) key(t *testing.T, key string) {
	t.Helper()
	codes := map[string]int{"ArrowDown": 40, "Enter": 13, "Escape": 27, "End": 35, "/": 191, "6": 54}
	text := ""
	switch {
	case len(key) == 1:
		text = key
	case key == "Enter":
		text = "\r"
	}
	b.call(t, "Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": key, "windowsVirtualKeyCode": codes[key], "text": text}, nil)
	b.call(t, "Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "windowsVirtualKeyCode": codes[key]}, nil)
}

// picture keeps a picture of the whole page in EDGE_PAGE_PICTURES, if that is set.
func (b *browser) picture(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("EDGE_PAGE_PICTURES")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.call(t, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	text, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.png", name)), text, 0o600); err != nil {
		t.Fatal(err)
	}
}
