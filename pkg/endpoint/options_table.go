package endpoint

import "time"

const (
	ms   = int64(time.Millisecond)
	sec  = int64(time.Second)
	hour = int64(time.Hour)
)

// options is every option there is, sorted by name. It is never written.
var options = [...]option{
	opt("alpn", "string", "edge-gw on quic", "modbus", tlsOrQUIC,
		"Application protocol to offer, as the device's server names it.").checked(notEmpty),
	opt("backoff", "duration", "500ms", "1s", anyEndpoint,
		"Wait before the second dial after a failure; doubled each time, less up to a half at random. 10ms–1h.").within(10*ms, hour),
	opt("backoff_max", "duration", "30s", "2m", anyEndpoint,
		"Longest wait between two dials. 10ms–24h.").within(10*ms, 24*hour),
	opt("backup", "address", "", "192.168.10.6:502", networkOnly,
		"Where to dial when the endpoint itself can't be reached.").checked(hostPort),
	opt("baud", "integer", "9600 on serial", "19200", lineSpeed,
		"Speed of the line in bits per second, 300–921600. On a network, that of the line behind a serial server.").within(300, 921600),
	opt("burst", "integer", "1", "10", anyEndpoint,
		"Packets that may go at once after a pause, under a rate in pps. 1–10000.").within(1, 10_000),
	opt("burst_bytes", "size", "1500", "4K", anyEndpoint,
		"Bytes that may go at once after a pause, under a rate in Bps. 1–64M.").within(1, 64<<20),
	opt("ca", "path", "the system's", "/certs/plant_ca.pem", secureOnly,
		"PEM file with the authorities that may sign the peer's certificate.").checked(notEmpty),
	opt("client_cert", "path", "", "/certs/edge.crt", secureOnly,
		"PEM file with our certificate, and its chain.").checked(notEmpty),
	opt("client_key", "path", "", "/certs/edge.key", secureOnly,
		"PEM file with the key of client_cert.").checked(notEmpty),
	opt("data_bits", "integer", "8", "7", serialOnly,
		"Data bits per character, 5–8.").within(5, 8),
	opt("failback", "duration", "30s", "5m", networkOnly,
		"While on the backup: how often to try the endpoint itself. 1s–24h.").within(sec, 24*hour),
	opt("halfduplex", "boolean", "1 on serial, else 0", "1", anyEndpoint,
		"Before each write, wait until the line was silent for 3.5 characters (see baud) and at least turnaround."),
	opt("idle_timeout", "duration", "5m", "30s", anyEndpoint,
		"Close a connection that nobody used for so long; 0 keeps it. 0 or 1s–30d.").within(sec, 30*24*hour).orZero(),
	opt("keepalive", "duration", "15s", "1m", tcpOrQUIC,
		"Idle time before, and interval between, keep-alive probes; 0 turns them off. 0 or 1s–1h.").within(sec, hour).orZero(),
	opt("max_conns", "integer", "1", "4", anyEndpoint,
		"Connections open at once. 1–256; 1 on serial.").within(1, 256),
	opt("max_lifetime", "duration", "0s", "24h", anyEndpoint,
		"Replace a connection that is older, when it is free; 0 keeps it. 0 or 1s–365d.").within(sec, 365*24*hour).orZero(),
	opt("min_version", "1.2|1.3", "1.2", "1.3", tlsOnly,
		"Oldest version of TLS to accept.").checked(oneOf("1.2", "1.3")),
	opt("nodelay", "boolean", "1", "0", tcpOnly,
		"Send small packets at once (TCP_NODELAY)."),
	opt("parity", "N|E|O", "N", "E", serialOnly,
		"None, even or odd.").checked(oneOf("N", "E", "O")),
	opt("password", "string", "", "${file:plc_password}", networkOnly,
		"Password, or the hexadecimal pre-shared key of DTLS. In a URL it stands before the host.").secret(),
	opt("rate", "rate", "no limit", "200pps", anyEndpoint,
		"Limit on what is sent to the endpoint, over all its connections: 200pps, 64kBps, or both joined by a comma."),
	opt("rs485", "boolean", "0", "1", serialOnly,
		"Let the kernel drive the RS-485 direction (TIOCSRS485)."),
	opt("rs485_delay_after", "duration", "0s", "1ms", serialOnly,
		"RTS stays on for so long after sending, in whole milliseconds. 0–100ms.").within(0, 100*ms),
	opt("rs485_delay_before", "duration", "0s", "1ms", serialOnly,
		"RTS is on for so long before sending, in whole milliseconds. 0–100ms.").within(0, 100*ms),
	opt("rs485_rts_after_send", "boolean", "0", "1", serialOnly,
		"Level of RTS when not sending."),
	opt("rs485_rts_on_send", "boolean", "1", "0", serialOnly,
		"Level of RTS while sending."),
	opt("rs485_rx_during_tx", "boolean", "0", "1", serialOnly,
		"Receive while sending (hears its own echo)."),
	opt("server_name", "string", "the host", "plc1.plant.example", secureOnly,
		"Name that the peer's certificate must be for.").checked(notEmpty),
	opt("source", "address", "the system's choice", "10.1.0.5", networkOnly,
		"IP address to connect from.").checked(anAddress),
	opt("stop_bits", "1|1.5|2", "1", "2", serialOnly,
		"Stop bits; 1.5 with data_bits=5 only.").checked(oneOf("1", "1.5", "2")),
	opt("timeout", "duration", "1s", "250ms", anyEndpoint,
		"Limit on connecting, handshake included, to one address, and on each read or write without a deadline of its own. 1ms–10m.").within(ms, hour/6),
	opt("turnaround", "duration", "0s", "5ms", anyEndpoint,
		"With halfduplex: shortest silence before each write. 0–10s.").within(0, 10*sec),
	opt("username", "string", "", "edge", networkOnly,
		"User name, or the identity of DTLS's pre-shared key. In a URL it stands before the host.").secret(),
}

func opt(name, typ, def, example string, sc scope, doc string) option {
	return option{
		Option: Option{Name: name, Type: typ, Default: def, Example: example, For: scopeText[sc], Doc: doc},
		scope:  sc,
	}
}

func (p option) within(low, high int64) option { p.min, p.max = low, high; return p }

func (p option) orZero() option { p.zero = true; return p }

func (p option) checked(f func(string) (string, error)) option { p.verify = f; return p }

func (p option) secret() option { p.Secret = true; return p }

// field is where the value of the option of that name is: a *time.Duration,
// *int, *bool, *string or *Rate. It is nil for user name and password. (A switch
// rather than a function per option, so that o needs no heap.)
func (o *Options) field(name string) any {
	switch name {
	case "alpn":
		return &o.ALPN
	case "backoff":
		return &o.Backoff
	case "backoff_max":
		return &o.BackoffMax
	case "backup":
		return &o.Backup
	case "baud":
		return &o.Baud
	case "burst":
		return &o.Burst
	case "burst_bytes":
		return &o.BurstBytes
	case "ca":
		return &o.CA
	case "client_cert":
		return &o.ClientCert
	case "client_key":
		return &o.ClientKey
	case "data_bits":
		return &o.DataBits
	case "failback":
		return &o.Failback
	case "halfduplex":
		return &o.HalfDuplex
	case "idle_timeout":
		return &o.IdleTimeout
	case "keepalive":
		return &o.KeepAlive
	case "max_conns":
		return &o.MaxConns
	case "max_lifetime":
		return &o.MaxLifetime
	case "min_version":
		return &o.MinVersion
	case "nodelay":
		return &o.NoDelay
	case "parity":
		return &o.Parity
	case "rate":
		return &o.Rate
	case "rs485":
		return &o.RS485
	case "rs485_delay_after":
		return &o.RS485DelayAfter
	case "rs485_delay_before":
		return &o.RS485DelayBefore
	case "rs485_rts_after_send":
		return &o.RS485RTSAfter
	case "rs485_rts_on_send":
		return &o.RS485RTSOnSend
	case "rs485_rx_during_tx":
		return &o.RS485RxDuringTx
	case "server_name":
		return &o.ServerName
	case "source":
		return &o.Source
	case "stop_bits":
		return &o.StopBits
	case "timeout":
		return &o.Timeout
	case "turnaround":
		return &o.Turnaround
	}
	return nil
}
