package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// statusMessage is what the status topic holds, retained.
type statusMessage struct {
	Status    string `json:"status"` // online, offline
	Gateway   string `json:"gateway"`
	Version   string `json:"version"`
	ConfigRev uint64 `json:"config_rev"`
	Since     int64  `json:"since"` // Unix milliseconds: when the gateway connected
}

func (c *Connector) statusMessage(status string) statusMessage {
	return statusMessage{Status: status, Gateway: c.deps.Identity.Gateway, Version: c.deps.Identity.Version,
		ConfigRev: c.deps.ConfigRev(), Since: time.Now().UnixMilli()}
}

// statusTopic is where a gateway's birth and last will go.
func (c *Connector) statusTopic() string {
	return "/edge/status/" + c.deps.Identity.Tenant + "/" + c.deps.Identity.Device
}

// attend does what a connection needs besides data: it subscribes to commands and
// announces the gateway, again when the configuration changes, and sends the
// results of commands. What the broker
// does not allow is a warning: data flows all the same.
func (c *Connector) attend(ctx context.Context, l *link) error {
	var warnings []error
	var results <-chan struct{}
	if c.commands != nil {
		results = c.commands.replies
		c.commands.wakeReplies()
		_, err := l.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: c.commands.topic, QoS: 1}}})
		if err := c.tolerate(ctx, err); err != nil {
			return fmt.Errorf("subscribe to %s: %w", c.commands.topic, err)
		}
		if err != nil {
			warnings = append(warnings, fmt.Errorf("no commands: %s: %w", c.commands.topic, err))
		}
	}
	for rev := uint64(0); ; {
		if now := c.deps.ConfigRev(); now != rev || rev == 0 {
			err := c.announce(ctx, l)
			if err := c.tolerate(ctx, err); err != nil {
				return fmt.Errorf("announce the gateway: %w", err)
			}
			if err != nil {
				warnings = append(warnings, fmt.Errorf("status topic %s: %w", c.statusTopic(), err))
			}
			rev = max(now, 1)
		}
		for _, w := range warnings {
			c.log.Warn("the broker does not allow all", "error", w)
		}
		c.addWarnings(warnings)
		warnings = nil
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

// announceEvery is how soon a new configuration revision shows on the status
// topic.
const announceEvery = 2 * time.Second

// announce publishes that the gateway is online.
func (c *Connector) announce(ctx context.Context, l *link) error {
	body, err := json.Marshal(c.statusMessage("online"))
	if err != nil {
		return err
	}
	return c.publish(ctx, l, &paho.Publish{Topic: c.statusTopic(), Payload: body, Retain: true,
		Properties: &paho.PublishProperties{ContentType: "application/json"}})
}

// publish sends a message of the connector's own and waits until the broker has
// it.
func (c *Connector) publish(ctx context.Context, l *link, p *paho.Publish) error {
	p.QoS = c.session.currentLimits().replyQoS
	resp, err := l.client.Publish(ctx, p)
	if resp != nil && resp.ReasonCode >= 0x80 {
		return &refusal{code: resp.ReasonCode, text: resp.Properties.ReasonString}
	}
	return err
}

// tolerate returns nil for what the broker has turned down, and for the end of
// ctx; an error after which the connection is of no use.
func (c *Connector) tolerate(ctx context.Context, err error) error {
	var r *refusal
	switch {
	case err == nil, ctx.Err() != nil, errors.As(err, &r):
		return nil
	case isTimeout(err), errors.Is(err, paho.ErrConnectionLost):
		return err
	}
	return nil
}

// addWarnings adds to what does not work though data flows.
func (c *Connector) addWarnings(warnings []error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.warn = errors.Join(append([]error{c.warn}, warnings...)...)
}
