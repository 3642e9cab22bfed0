package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
)

// statusMessage is what the status topic holds, retained.
type statusMessage struct {
	Status    string `json:"status"` // online, offline
	Gateway   string `json:"gateway"`
	Version   string `json:"version"`
	ConfigRev uint64 `json:"config_rev"`
	Since     int64  `json:"since"` // Unix milliseconds: when the gateway connected
	bus.Seen         // how far the log had come; see seen.go
}

func (c *Connector) statusMessage(status string) statusMessage {
	return statusMessage{Status: status, Gateway: c.deps.Identity.Gateway, Version: c.deps.Identity.Version,
		ConfigRev: c.deps.ConfigRev(), Since: time.Now().UnixMilli(), Seen: c.claim()}
}

// statusTopic is where a gateway's birth and last will go.
func (c *Connector) statusTopic() string {
	return identityReplacer(c.deps.Identity).Replace(c.config().Status.Topic)
}

// attend does what a connection needs besides data: it subscribes to commands and
// announces the gateway, again when the configuration changes, and sends the
// results of commands. What the broker does not allow is a warning: data flows all
// the same.
func (c *Connector) attend(ctx context.Context, l *link) error {
	var results <-chan struct{}
	if c.commands != nil {
		results = c.commands.replies
		c.commands.wakeReplies()
	}
	subscribed, announced, tidied, rev := c.commands == nil, !c.config().Status.Enable, false, uint64(0)
	for tried := (time.Time{}); ; {
		if again := time.Since(tried) > tryAgainEvery; again || c.deps.ConfigRev() != rev {
			if again {
				tried = time.Now()
			}
			var err error
			if !tidied {
				if tidied, err = c.tidy(ctx, l); err != nil {
					return err
				}
			}
			if !subscribed {
				if subscribed, err = c.tolerate(partCommands, c.subscribe(ctx, l)); err != nil {
					return err
				}
			}
			if now := c.deps.ConfigRev(); c.config().Status.Enable && (!announced || now != rev) {
				rev = now
				if announced, err = c.tolerate(partStatus, c.announce(ctx, l)); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-results:
			if err := c.answer(ctx, l); err != nil {
				return err
			}
		case <-time.After(announceEvery):
		}
	}
}

// tryAgainEvery is how often what the broker has turned down is tried again.
const tryAgainEvery = 30 * time.Second

// errGrantsLess says that the broker sends commands with QoS 0.
var errGrantsLess = errors.New("the broker grants QoS 0 only: a command that is sent while there is no connection, or gets lost with one, does not arrive; " +
	"raise what it grants")

// neverRetained asks the broker not to send what it has retained: no retained command is
// executed, and thousands of them would come with each connection.
const neverRetained = 2

// subscribe subscribes to a filter with QoS 1. It returns what is less than that in what
// was granted.
func subscribe(ctx context.Context, client *paho.Client, filter string) (less, err error) {
	ack, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1,
		RetainHandling: neverRetained}}})
	if ack != nil && len(ack.Reasons) > 0 {
		switch {
		case ack.Reasons[0] >= 0x80:
			err = &refusal{code: ack.Reasons[0]}
		case ack.Reasons[0] == 0:
			less = errGrantsLess
		}
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", filter, err)
	}
	return less, nil
}

// subscribe subscribes to the commands' topic, if the broker takes it.
func (c *Connector) subscribe(ctx context.Context, l *link) error {
	if err := c.session.currentLimits().takesFilter(c.commands.topic); err != nil {
		return err
	}
	return c.subscribeCommands(ctx, l)
}

// announceEvery is how soon a new configuration revision shows on the status
// topic.
const announceEvery = 2 * time.Second

// announce publishes that the gateway is online.
func (c *Connector) announce(ctx context.Context, l *link) error {
	body, err := json.Marshal(c.statusMessage("online"))
	if err != nil {
		return err
	}
	return c.publish(ctx, l, &paho.Publish{Topic: c.statusTopic(), Payload: body, Retain: c.retains(l),
		Properties: &paho.PublishProperties{ContentType: "application/json"}})
}

// retains reports whether there is a status that the broker keeps: as configured,
// unless it keeps nothing.
func (c *Connector) retains(l *link) bool {
	return c.keepsStatus() && l.will == willWhole && !c.session.currentLimits().noRetain
}

// publish sends a message of the connector's own and waits until the broker has
// it.
func (c *Connector) publish(ctx context.Context, l *link, p *paho.Publish) error {
	p.QoS = c.session.currentLimits().replyQoS
	resp, err := l.client.Publish(ctx, p)
	if resp != nil && resp.ReasonCode >= 0x80 {
		err = &refusal{code: resp.ReasonCode, text: resp.Properties.ReasonString}
	}
	if err != nil {
		return fmt.Errorf("publish on %s: %w", p.Topic, err)
	}
	return nil
}

// tolerate sorts the outcome of something that data can do without. What the
// broker has turned down, or does not take by its CONNACK, is a warning, and not
// done; an answer that did not come in time is an error, after which the connection
// is of no use. Anything else means that the connection has ended, which others
// report.
func (c *Connector) tolerate(what string, err error) (done bool, _ error) {
	var r *refusal
	switch {
	case err == nil:
		c.warn(what, c.standing(what))
		return true, nil
	case errors.As(err, &r), errors.Is(err, paho.ErrInvalidArguments):
		c.log.Warn("the broker does not allow all", "what", what, "error", err)
		c.warn(what, err)
	case isTimeout(err):
		return false, err
	}
	return false, nil
}

// standing returns what holds for a part although it was done: that its message is
// not retained.
func (c *Connector) standing(what string) error {
	for _, s := range c.shortfalls(c.session.currentLimits()) {
		if s.part == what && what == partStatus {
			return s.err
		}
	}
	return nil
}

// warn notes what does not work though data flows, and with nil that it does.
func (c *Connector) warn(what string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.warnings, what)
		return
	}
	c.warnings[what] = err
}
