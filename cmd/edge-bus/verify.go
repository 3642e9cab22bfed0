package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/receiver"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

type verifyFlags struct {
	cfg                    receiver.Config
	qos                    uint8
	unit, password, ledger string
	version                string
	ca, cert, key          string
	duration               time.Duration
}

func newVerify() *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use:   "verify --broker URL --topic FILTER",
		Short: "Prove at the broker that no message is missing and count repeats",
		Long: `verify subscribes at the broker as any consumer would, and follows the chain of
messages of each gateway: which frames came, which came again, which are missing.
It prints its report at the end of --duration or on Ctrl-C, and exits 1 if
anything is missing or was not understood, or if nothing came. It needs no gateway.

With --ledger FILE what it knows is kept: the next run goes on from there.`,
		Example: `  edge-bus verify --broker mqtt://127.0.0.1:1883 --topic '/edge/+/+/data' \
    --duration 1m
  edge-bus verify --broker mqtts://broker:8883 --username u --password-file pw \
    --topic '/edge/#' -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return flags.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&flags.cfg.Broker, "broker", "", "URL of the broker, such as mqtt://HOST:1883 (required)")
	f.StringVar(&flags.cfg.Topic, "topic", "", "topic filter, such as /edge/+/+/data (required)")
	f.DurationVar(&flags.duration, "duration", 0, "how long; 0: until Ctrl-C")
	f.Uint8Var(&flags.qos, "qos", 2, "of the subscription (0–2)")
	f.StringVar(&flags.version, "mqtt-version", "5", "of the protocol: 5 or 3.1.1 (messages then need an envelope)")
	f.StringVar(&flags.cfg.ClientID, "client-id", "", "client id (default: one that no other run has)")
	f.StringVar(&flags.cfg.Username, "username", "", "user name at the broker")
	f.StringVar(&flags.password, "password-file", "", "file that holds the password")
	f.StringVar(&flags.ca, "cacert", "", "file with the certificate authority of the broker (default: the system's)")
	f.StringVar(&flags.cert, "cert", "", "file with our certificate, if the broker wants one")
	f.StringVar(&flags.key, "key", "", "file with the key of --cert")
	f.StringVar(&flags.ledger, "ledger", "", "keep what is known in this file")
	f.StringVar(&flags.unit, "timestamp-unit", "ms", "unit of ts in the payload: ms, us or ns")
	for _, name := range []string{"broker", "topic"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag was added above
		}
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

func (f *verifyFlags) run(cmd *cobra.Command) error {
	if err := f.complete(cmd); err != nil {
		return err
	}
	ctx := cmd.Context()
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	if err := f.receive(ctx, cmd); err != nil {
		return err
	}
	report := f.cfg.Ledger.Report()
	if err := cli.NewOutput(cmd).Print(report, func(t *cli.Table) { verifyTable(t, report) }); err != nil {
		return err
	}
	switch {
	case len(report.Gateways) == 0 && report.Bad == 0:
		return errors.New("nothing came: is there a connection to the broker, is the topic right, does a gateway send, may this user subscribe?")
	case !report.OK():
		return errors.New("not everything is there")
	}
	return nil
}

// receive follows the messages, and shows on a terminal how many frames came.
func (f *verifyFlags) receive(ctx context.Context, cmd *cobra.Command) error {
	p := cli.NewProgress(cmd, "receiving")
	defer p.Done()
	p.Set("nothing came yet")
	var frames int
	f.cfg.OnFrames = func(b *receiver.Batch, fresh []frame.Sample) error {
		frames += len(fresh)
		p.Set(words.Count(frames, "frame") + ", the last from " + b.Gateway)
		return nil
	}
	return receiver.Run(ctx, f.cfg)
}

// sessionExpiry is how long the broker keeps what comes while our own connection
// is down, so that it is not taken for missing.
const sessionExpiry = 5 * time.Minute

// complete fills in what the flags only hint at.
func (f *verifyFlags) complete(cmd *cobra.Command) (err error) {
	if f.qos > 2 {
		return cli.Usagef("--qos %d: expected 0, 1 or 2", f.qos)
	}
	if f.version != "5" && f.version != "3.1.1" {
		return cli.Usagef("--mqtt-version %s: expected 5 or 3.1.1", f.version)
	}
	f.cfg.Old = f.version == "3.1.1"
	f.cfg.QoS = f.qos
	f.cfg.SessionExpiry = sessionExpiry
	f.cfg.Refusal = true
	f.cfg.Settings = clienttls.Settings{Peer: "the broker", CA: "--cacert", Cert: "--cert", Key: "--key", Address: "--broker",
		Plain: "use mqtt:// (or ws://) in --broker"}
	if f.cfg.Unit, err = frame.ParseTimestampUnit(f.unit); err != nil {
		return cli.Usagef("--timestamp-unit: %w", err)
	}
	if f.cfg.ClientID == "" {
		f.cfg.ClientID = fmt.Sprintf("edge-bus-verify-%d-%d", os.Getpid(), time.Now().UnixMilli())
	}
	if f.password != "" {
		text, err := regular.ReadFile(f.password, 64<<10)
		if err != nil {
			return fmt.Errorf("--password-file: %w", err)
		}
		f.cfg.Password = strings.TrimRight(string(text), "\r\n")
	}
	if f.cfg.TLS, err = f.tls(); err != nil {
		return err
	}
	f.cfg.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	f.cfg.Ledger, err = receiver.OpenLedger(f.ledger)
	return err
}

// tls returns what the flags say about certificates, nil if they say nothing.
func (f *verifyFlags) tls() (*tls.Config, error) {
	if (f.cert == "") != (f.key == "") {
		return nil, cli.Usagef("--cert and --key go together: give both or none")
	}
	if f.ca == "" && f.cert == "" {
		return nil, nil
	}
	cfg, err := clienttls.Files{CA: f.ca, Cert: f.cert, Key: f.key}.Config()
	switch {
	case errors.Is(err, clienttls.ErrCA):
		return nil, fmt.Errorf("--cacert: %w", err)
	case err != nil:
		return nil, fmt.Errorf("--cert and --key: %w", err)
	}
	return cfg, nil
}

func verifyTable(t *cli.Table, r receiver.Report) {
	if len(r.Gateways) == 0 && r.Bad == 0 {
		return // the command ends with that
	}
	t.Header("GATEWAY", "EPOCH", "SEQ", "MESSAGES", "FRAMES", "MISSING", "REPEATS", "LATE", "DELAY P95") // MISSING has room at 80 columns
	for _, g := range r.Gateways {
		missing := cli.Cell{Text: "none", Color: cli.Green}
		if len(g.Gaps) > 0 {
			missing = cli.Cell{Text: words.Count(len(g.Gaps), "gap"), Color: cli.Red}
		}
		t.Cells(cli.Cell{Text: g.Gateway}, cli.Cell{Text: g.Epoch}, cli.Cell{Text: fmt.Sprintf("%d–%d", g.FirstSeq, g.LastSeq)},
			number(g.Messages), number(g.Frames), missing, number(g.Repeats), number(g.Late), cli.Cell{Text: fmt.Sprintf("%.0f ms", g.Delay.P95Ms), Right: true})
	}
	for _, g := range r.Gateways {
		for _, id := range slices.Sorted(maps.Keys(g.Replays)) {
			t.Cells(cli.Cell{Text: g.Gateway}, cli.Cell{Text: "replay"}, cli.Cell{Text: id}, cli.Cell{Text: words.Count(g.Replays[id], "frame")})
		}
		for _, gap := range g.Gaps {
			t.Cells(cli.Cell{Text: g.Gateway}, cli.Cell{Text: "missing", Color: cli.Red}, cli.Cell{Text: fmt.Sprintf("%d–%d", gap.First, gap.Last)}, cli.Cell{Text: gap.Topic})
		}
	}
	if slices.ContainsFunc(r.Gateways, func(g receiver.GatewayReport) bool { return g.Repeats > 0 }) {
		t.Cells(cli.Cell{Text: "repeats: frames of messages that the broker delivered again, as it does when a connection breaks before it has read the acknowledgement"})
	}
	if r.Bad > 0 {
		t.Cells(cli.Cell{Text: fmt.Sprintf("%s not understood: %s", words.Count(r.Bad, "message"), r.BadError), Color: cli.Red})
	}
}
