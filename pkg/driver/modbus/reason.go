package modbus

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// explain says to people what the device did when it was asked for a tag, and
// what may mend it.
func explain(err error) driver.Reason {
	code := exceptionCode(err)
	if code == 0 {
		return silentReason(err)
	}
	r := driver.Reason{Text: "refused: " + code.String()}
	switch code {
	case IllegalFunction:
		r.Hint = "check address.type: the device does not have that table, or not there"
	case IllegalDataAddress:
		r.Hint = "check address.addr (manuals count from 0 or from 1), or remove the tag"
	case IllegalDataValue:
		r.Hint = "check address.addr and datatype; a device that answers only certain blocks needs cfg.blocks, or merge: false"
	case ServerDeviceFailure, MemoryParityError:
		r.Hint = "the device cannot read it: look at the device itself"
	case Acknowledge, ServerDeviceBusy:
		r.Text = "busy: " + code.String()
		r.Hint = "the device never has time for it: raise polling, or set cfg.request_gap"
	case GatewayPath:
		r.Hint = "the Modbus gateway has no way to the unit: check cfg.unit_id and the gateway's routes"
	case GatewayTarget:
		r.Hint = "the unit behind the Modbus gateway is silent: check cfg.unit_id, its power and its line"
	default:
		r.Hint = "the device's manual says what that code means"
	}
	return r
}

func silentReason(err error) driver.Reason {
	var rejected *Rejection
	switch {
	case errors.As(err, &rejected):
		return driver.Reason{Text: rejected.Error(), Hint: "the device answers something else than was asked for: check address and datatype, or remove the tag"}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errkind.Reset(err):
		return driver.Reason{Text: "the device closes the connection when it is asked for it", Hint: "check address.addr and address.type, or remove the tag"}
	case isTimeout(err):
		return driver.Reason{Text: "no answer in time", Hint: "check address.addr and cfg.unit_id, or raise cfg.timeout"}
	}
	return driver.Reason{Text: err.Error(), Hint: "check the endpoint"}
}

// unreadable notes why r's points are bad, and logs it when it is new.
func (p *poller) unreadable(r *request, err error) {
	reason := explain(err)
	reason.Since = r.since
	table := p.plan.table
	for i := range r.points {
		p.d.Note(table.Variable(r.points[i].index).Tag, reason)
	}
	if r.why != nil && explain(r.why).Text == reason.Text {
		return
	}
	log := p.teller.Logger(p.d.log(), time.Now())
	if log == nil {
		return
	}
	first := &r.points[0]
	if len(r.points) == 1 {
		log.Warn("tag cannot be read", "tag", table.Variable(first.index).Tag, "address", first.String(), "reason", reason.Text)
		return
	}
	log.Warn("tags cannot be read", "tags", len(r.points), "first", table.Variable(first.index).Tag, "request", r.String(), "reason", reason.Text)
}

// readable notes that r's points are not bad any more.
func (p *poller) readable(r *request, tell bool) {
	table := p.plan.table
	for i := range r.points {
		p.d.Forget(table.Variable(r.points[i].index).Tag)
	}
	if !tell {
		return
	}
	log := p.teller.Logger(p.d.log(), time.Now())
	if log == nil {
		return
	}
	first := &r.points[0]
	if len(r.points) == 1 {
		log.Info("tag is read again", "tag", table.Variable(first.index).Tag, "address", first.String())
		return
	}
	log.Info("tags are read again", "tags", len(r.points), "first", table.Variable(first.index).Tag, "request", r.String())
}

// Reasons implements driver.Reasoner.
func (d *modbusDriver) Reasons() (device driver.Reason, tags map[string]driver.Reason) {
	device, tags = d.Account.Reasons()
	if late := d.lates.sinceAnswer(); device.Text != "" && late > 0 {
		device.Hint = patience(late)
	}
	return device, tags
}

// awayReason is why a whole device cannot be read.
func awayReason(err error) driver.Reason {
	if kindOfFailure(err) == busy {
		return driver.Reason{Text: fmt.Sprintf("the device is busy: %s", exceptionCode(err)), Hint: "raise cfg.polling, or set cfg.request_gap"}
	}
	if exceptionCode(err) != 0 {
		return explain(err)
	}
	return driver.Reason{Text: "the device does not answer: " + err.Error(), Hint: "edge-ctl probe ENDPOINT --unit N --read ADDR shows how far a question comes"}
}
