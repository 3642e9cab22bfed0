package endpoint

import "time"

const (
	ms   = int64(time.Millisecond)
	sec  = int64(time.Second)
	hour = int64(time.Hour)
)

// options is every option there is, sorted by name. It is never written.
var options = [...]option{
	opt("backoff", "duration", "500ms", "1s", anyEndpoint,
		"Wait before the second dial after a failure; doubled each time, less up to a half at random. 10ms–1h.",
		func(o *Options) any { return &o.Backoff }).within(10*ms, hour),
	opt("backoff_max", "duration", "30s", "2m", anyEndpoint,
		"Longest wait between two dials. 10ms–24h.",
		func(o *Options) any { return &o.BackoffMax }).within(10*ms, 24*hour),
	opt("backup", "address", "", "192.168.10.6:502", networkOnly,
		"Where to dial when the endpoint itself can't be reached.",
		func(o *Options) any { return &o.Backup }).checked(hostPort),
	opt("baud", "integer", "9600 on serial", "19200", lineSpeed,
		"Speed of the line in bits per second, 300–921600. On a network, that of the line behind a serial server.",
		func(o *Options) any { return &o.Baud }).within(300, 921600),
	opt("burst", "integer", "1", "10", anyEndpoint,
		"Packets that may go at once after a pause, under a rate in pps. 1–10000.",
		func(o *Options) any { return &o.Burst }).within(1, 10_000),
	opt("burst_bytes", "size", "1500", "4K", anyEndpoint,
		"Bytes that may go at once after a pause, under a rate in Bps. 1–64M.",
		func(o *Options) any { return &o.BurstBytes }).within(1, 64<<20),
	opt("ca", "path", "the system's", "/certs/plant_ca.pem", secureOnly,
		"PEM file with the authorities that may sign the peer's certificate.",
		func(o *Options) any { return &o.CA }).checked(notEmpty),
	opt("client_cert", "path", "", "/certs/edge.crt", secureOnly,
		"PEM file with our certificate, and its chain.",
		func(o *Options) any { return &o.ClientCert }).checked(notEmpty),
	opt("client_key", "path", "", "/certs/edge.key", secureOnly,
		"PEM file with the key of client_cert.",
		func(o *Options) any { return &o.ClientKey }).checked(notEmpty),
	opt("data_bits", "integer", "8", "7", serialOnly,
		"Data bits per character, 5–8.",
		func(o *Options) any { return &o.DataBits }).within(5, 8),
	opt("failback", "duration", "30s", "5m", networkOnly,
		"While on the backup: how often to try the endpoint itself. 1s–24h.",
		func(o *Options) any { return &o.Failback }).within(sec, 24*hour),
	opt("halfduplex", "boolean", "1 on serial, else 0", "1", anyEndpoint,
		"Before each write, wait until the line was silent for 3.5 characters (see baud) and at least turnaround.",
		func(o *Options) any { return &o.HalfDuplex }),
	opt("idle_timeout", "duration", "5m", "30s", anyEndpoint,
		"Close a connection that nobody used for so long; 0 keeps it. 0 or 1s–30d.",
		func(o *Options) any { return &o.IdleTimeout }).within(sec, 30*24*hour).orZero(),
	opt("keepalive", "duration", "15s", "1m", tcpOnly,
		"Idle time before, and interval between, TCP keep-alive probes; 0 turns them off. 0 or 1s–1h.",
		func(o *Options) any { return &o.KeepAlive }).within(sec, hour).orZero(),
	opt("max_conns", "integer", "1", "4", anyEndpoint,
		"Connections open at once. 1–256; 1 on serial.",
		func(o *Options) any { return &o.MaxConns }).within(1, 256),
	opt("max_lifetime", "duration", "0s", "24h", anyEndpoint,
		"Replace a connection that is older, when it is free; 0 keeps it. 0 or 1s–365d.",
		func(o *Options) any { return &o.MaxLifetime }).within(sec, 365*24*hour).orZero(),
	opt("min_version", "1.2|1.3", "1.2", "1.3", tlsOnly,
		"Oldest version of TLS to accept.",
		func(o *Options) any { return &o.MinVersion }).checked(oneOf("1.2", "1.3")),
	opt("nodelay", "boolean", "1", "0", tcpOnly,
		"Send small packets at once (TCP_NODELAY).",
		func(o *Options) any { return &o.NoDelay }),
	opt("parity", "N|E|O", "N", "E", serialOnly,
		"None, even or odd.",
		func(o *Options) any { return &o.Parity }).checked(oneOf("N", "E", "O")),
	opt("password", "string", "", "${file:plc_password}", networkOnly,
		"Password, or the hexadecimal pre-shared key of DTLS. In a URL it stands before the host.", nil).secret(),
	opt("rate", "rate", "no limit", "200pps", anyEndpoint,
		"Limit on what is sent to the endpoint, over all its connections: 200pps, 64kBps, or both joined by a comma.",
		func(o *Options) any { return &o.Rate }),
	opt("rs485", "boolean", "0", "1", serialOnly,
		"Let the kernel drive the RS-485 direction (TIOCSRS485).",
		func(o *Options) any { return &o.RS485 }),
	opt("rs485_delay_after", "duration", "0s", "1ms", serialOnly,
		"RTS stays on for so long after sending, in whole milliseconds. 0–100ms.",
		func(o *Options) any { return &o.RS485DelayAfter }).within(0, 100*ms),
	opt("rs485_delay_before", "duration", "0s", "1ms", serialOnly,
		"RTS is on for so long before sending, in whole milliseconds. 0–100ms.",
		func(o *Options) any { return &o.RS485DelayBefore }).within(0, 100*ms),
	opt("rs485_rts_after_send", "boolean", "0", "1", serialOnly,
		"Level of RTS when not sending.",
		func(o *Options) any { return &o.RS485RTSAfter }),
	opt("rs485_rts_on_send", "boolean", "1", "0", serialOnly,
		"Level of RTS while sending.",
		func(o *Options) any { return &o.RS485RTSOnSend }),
	opt("rs485_rx_during_tx", "boolean", "0", "1", serialOnly,
		"Receive while sending (hears its own echo).",
		func(o *Options) any { return &o.RS485RxDuringTx }),
	opt("server_name", "string", "the host", "plc1.plant.example", secureOnly,
		"Name that the peer's certificate must be for.",
		func(o *Options) any { return &o.ServerName }).checked(notEmpty),
	opt("source", "address", "the system's choice", "10.1.0.5", networkOnly,
		"IP address to connect from.",
		func(o *Options) any { return &o.Source }).checked(anAddress),
	opt("stop_bits", "1|1.5|2", "1", "2", serialOnly,
		"Stop bits; 1.5 with data_bits=5 only.",
		func(o *Options) any { return &o.StopBits }).checked(oneOf("1", "1.5", "2")),
	opt("timeout", "duration", "1s", "250ms", anyEndpoint,
		"Limit on connecting, handshake included, to one address, and on each read or write without a deadline of its own. 1ms–10m.",
		func(o *Options) any { return &o.Timeout }).within(ms, hour/6),
	opt("turnaround", "duration", "0s", "5ms", anyEndpoint,
		"With halfduplex: shortest silence before each write. 0–10s.",
		func(o *Options) any { return &o.Turnaround }).within(0, 10*sec),
	opt("username", "string", "", "edge", networkOnly,
		"User name, or the identity of DTLS's pre-shared key. In a URL it stands before the host.", nil).secret(),
}

func opt(name, typ, def, example string, sc scope, doc string, field func(*Options) any) option {
	return option{
		Option: Option{Name: name, Type: typ, Default: def, Example: example, For: scopeText[sc], Doc: doc},
		scope:  sc, field: field,
	}
}

func (p option) within(low, high int64) option { p.min, p.max = low, high; return p }

func (p option) orZero() option { p.zero = true; return p }

func (p option) checked(f func(string) (string, error)) option { p.verify = f; return p }

func (p option) secret() option { p.Secret = true; return p }
