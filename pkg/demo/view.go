package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/gateway"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// event is what the demo says when nobody looks at a screen: one JSON line each.
type event struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"` // listening, stats, stopped
	listening
	*stats
}

// listening says where everything is.
type listening struct {
	Metrics string `json:"metrics,omitempty"`
	Broker  string `json:"broker,omitempty"`
	Admin   string `json:"admin,omitempty"`
	Center  string `json:"center,omitempty"` // the embedded etcd
	DataDir string `json:"data_dir,omitempty"`
	Topic   string `json:"topic,omitempty"`
}

// stats says how the main job goes.
type stats struct {
	Points    int    `json:"points"`
	Published uint64 `json:"published"` // frames in the log
	Delivered uint64 `json:"delivered"` // frames that the broker has completed
	Backlog   uint64 `json:"backlog"`
	Received  uint64 `json:"received"` // frames that the demo's consumer got
	Gaps      uint64 `json:"gaps"`     // frames that it misses
	Repeats   uint64 `json:"repeats"`  // frames that it got twice
	PerSecond uint64 `json:"per_second"`
}

// tagRows is how many tags the screen shows at most.
const tagRows = 6

// view shows the gateway's main job to whoever started the demo.
type view struct {
	out     *cli.Output
	gw      *gateway.Gateway
	proof   *proof
	where   listening
	began   time.Time
	stats   stats     // as measured last
	statsAt time.Time // zero: not yet
}

// run shows the state until ctx ends.
func (v *view) run(ctx context.Context) error {
	if !v.out.Interactive() {
		if err := v.say(event{Event: "listening", listening: v.where}, v.whereText); err != nil {
			return err
		}
	}
	interval := time.Second
	if v.out.Interactive() {
		interval = 500 * time.Millisecond
	}
	return v.out.Watch(ctx, interval, v.show)
}

// say prints an event as a line.
func (v *view) say(e event, text func() string) error {
	e.Time = time.Now().UTC()
	return v.out.PrintLine(e, text)
}

func (v *view) whereText() string {
	return fmt.Sprintf("metrics http://%s/metrics  broker %s  admin %s  etcd %s  topic %s", v.where.Metrics, v.where.Broker, v.where.Admin, v.where.Center, v.where.Topic)
}

// measure looks at the running gateway.
func (v *view) measure() {
	s := v.gw.Bus().Stats()
	r := v.proof.report()
	now := time.Now()
	next := stats{
		Points: len(v.gw.Snapshot().Variables), Published: s.LastSeq, PerSecond: v.stats.PerSecond,
		Received: r.Frames, Gaps: r.Gaps, Repeats: r.Repeats,
	}
	for _, c := range s.Consumers {
		next.Delivered, next.Backlog = c.AckSeq, c.Lag
	}
	if !v.statsAt.IsZero() {
		next.PerSecond = uint64(float64(s.LastSeq-v.stats.Published) / now.Sub(v.statsAt).Seconds())
	}
	v.stats, v.statsAt = next, now
}

// end says how it went, after the gateway has stopped.
func (v *view) end() error {
	v.proof.settle(v.stats.Published)
	r := v.proof.report()
	v.stats.Received, v.stats.Gaps, v.stats.Repeats = r.Frames, r.Gaps, r.Repeats
	v.stats.Published = max(v.stats.Published, r.LastSeq)
	if r.Frames == 0 && v.stats.Published > 0 {
		return fmt.Errorf("demo: %s logged, and none arrived at %s", words.Count(v.stats.Published, "frame"), v.where.Broker)
	}
	return v.say(event{Event: "stopped", stats: &v.stats}, func() string {
		return fmt.Sprintf("stopped after %s: %s received, %d missing, %d twice", cli.Span(time.Since(v.began)), words.Count(r.Frames, "frame"), r.Gaps, r.Repeats)
	})
}

// show prints the picture, or a line where there is no screen.
func (v *view) show(out *cli.Output) error {
	v.measure()
	s := &v.stats
	if !out.Interactive() {
		return v.say(event{Event: "stats", stats: s}, s.text)
	}
	w := out.Writer()
	fmt.Fprintf(w, "edge-gateway demo, %s — simulated PLC → log → MQTT broker\n\n", cli.Span(time.Since(v.began)))
	if err := out.Print(nil, func(t *cli.Table) { s.table(t) }); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := out.Print(nil, v.tagTable); err != nil {
		return err
	}
	fmt.Fprintf(w, `
Ctrl-C stops. In another terminal:
  export EDGE_CTL_SOCKET=%[1]s
  export EDGE_BUS_SOCKET=$EDGE_CTL_SOCKET
  bin/edge-ctl status;  bin/edge-ctl tags --watch;  bin/edge-bus stats
  mosquitto_sub -V 5 -p %[2]s -t %[3]s
  curl -s http://%[4]s/metrics | grep framebus
  export EDGE_CFG_ENDPOINTS=%[6]s
  $EDITOR %[5]s/config/variables.yml;  bin/edge-cfg push %[5]s/config   # applied live
`, v.where.Admin, portOf(v.where.Broker), v.where.Topic, v.where.Metrics, v.where.DataDir, v.where.Center)
	return nil
}

func (s *stats) text() string {
	return fmt.Sprintf("points %d  published %d (%d/s)  delivered %d  backlog %d  received %d  gaps %d  repeats %d",
		s.Points, s.Published, s.PerSecond, s.Delivered, s.Backlog, s.Received, s.Gaps, s.Repeats)
}

func (s *stats) table(t *cli.Table) {
	proof, color := fmt.Sprintf("%s received, none missing, none twice", cli.Count(s.Received)), cli.Green
	if s.Gaps+s.Repeats > 0 {
		proof, color = fmt.Sprintf("%s received, %d MISSING, %d TWICE", cli.Count(s.Received), s.Gaps, s.Repeats), cli.Red
	}
	t.Row("polled", fmt.Sprintf("%s, %s values/s", words.Count(s.Points, "point"), cli.Count(s.PerSecond)))
	t.Row("logged", fmt.Sprintf("%s frames, seq 1 to %d", cli.Count(s.Published), s.Published))
	t.Row("delivered", fmt.Sprintf("up to seq %d, backlog %d", s.Delivered, s.Backlog))
	t.Cells(cli.Cell{Text: "proof"}, cli.Cell{Text: proof, Color: color})
}

// tagTable lists some of the tags, spread over all, with their live values.
func (v *view) tagTable(t *cli.Table) {
	t.Header("TAG", "VALUE", "UNIT", "QUALITY", "AGE")
	tags, err := v.gw.Drivers().Tags("")
	if err != nil {
		t.Row(err.Error())
		return
	}
	rows := min(len(tags), tagRows)
	for i := range rows {
		tag := &tags[i*len(tags)/rows]
		value, age, color := "-", "-", cli.Plain
		if tag.Last.Known {
			value, age = tag.Last.Value.String(), cli.Ago(time.Unix(0, tag.Last.TS), time.Now())
		}
		if tag.Last.Quality == frame.Bad {
			color = cli.Red
		}
		t.Cells(cli.Cell{Text: tag.Tag}, cli.Cell{Text: value, Right: true}, cli.Cell{Text: tag.Unit},
			cli.Cell{Text: tag.Last.Quality.String(), Color: color}, cli.Cell{Text: age, Right: true})
	}
	if rest := len(tags) - rows; rest > 0 {
		t.Row(fmt.Sprintf("… and %d more", rest))
	}
}
