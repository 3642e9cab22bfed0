package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

func ExampleParse() {
	u, err := endpoint.Parse("rtu+serial:///dev/ttyUSB0?baud=19200&parity=E")
	if err != nil {
		log.Fatal(err)
	}
	o := u.Options()
	fmt.Println(u.Schemes(), u.Transport(), u.Host())
	fmt.Println(o.Baud, o.Parity, o.DataBits, o.HalfDuplex)

	_, err = endpoint.Parse("tcp://192.168.10.5:502?timout=1s")
	fmt.Println(err)
	// Output:
	// [rtu serial] serial /dev/ttyUSB0
	// 19200 E 8 true
	// opts.timout: no such option, did you mean "timeout"?
}

func ExampleFromTable() {
	u, err := endpoint.FromTable("tls+tcp", "192.168.10.5", 502, map[string]string{
		"timeout": "1000ms", "ca": "/certs/plant_ca.pem", "username": "edge", "password": "${file:plc_password}",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u) // without user name and password
	// Output: tls+tcp://***@192.168.10.5:502?ca=/certs/plant_ca.pem&timeout=1000ms
}

func ExampleURL_Normalize() {
	a, _ := endpoint.Parse("tls://PLC1.plant.example:802?timeout=1000ms&rate=200")
	b, _ := endpoint.Parse("tcp+tls://plc1.plant.example.:802?rate=200pps")
	fmt.Println(a.Normalize())
	fmt.Println(a.Normalize() == b.Normalize())
	// Output:
	// tls+tcp://plc1.plant.example:802?rate=200pps
	// true
}

// device sends back what it gets, for the examples.
func device() (address string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String(), func() { _ = l.Close(); <-done }
}

func Example() {
	address, stop := device()
	defer stop()

	pool, err := endpoint.NewPool(endpoint.PoolOptions{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	defer func() { _ = pool.Close(ctx) }()

	u, err := endpoint.Parse("tcp://" + address + "?timeout=1s&max_conns=1")
	if err != nil {
		log.Fatal(err)
	}
	press, err := pool.Open("press_1", u)
	if err != nil {
		log.Fatal(err)
	}

	ask := func(request string) (string, error) {
		lease, err := press.Acquire(ctx)
		if err != nil {
			return "", err
		}
		answer := make([]byte, len(request))
		_, err = lease.Write([]byte(request))
		if err == nil {
			_, err = io.ReadFull(lease, answer)
		}
		lease.Release(err) // with an error, the connection isn't used again
		return string(answer), err
	}
	for range 2 {
		fmt.Println(ask("status?"))
	}
	state, _ := pool.State("press_1")
	fmt.Println(state.Status, state.Open, state.Reconnects, state.BytesIn)
	// Output:
	// status? <nil>
	// status? <nil>
	// up 1 0 14
}

func ExamplePool_Control() {
	address, stop := device()
	defer stop()
	pool, err := endpoint.NewPool(endpoint.PoolOptions{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	defer func() { _ = pool.Close(ctx) }()
	u, _ := endpoint.Parse("tcp://" + address)
	press, err := pool.Open("press_1", u)
	if err != nil {
		log.Fatal(err)
	}

	if err := pool.Control(ctx, endpoint.Control{Op: endpoint.Pause, ID: "press_1"}); err != nil {
		log.Fatal(err)
	}
	_, err = press.Acquire(ctx)
	fmt.Println(err, errors.Is(err, endpoint.ErrPaused))
	if err := pool.Control(ctx, endpoint.Control{Op: endpoint.Resume, ID: "press_1"}); err != nil {
		log.Fatal(err)
	}
	lease, err := press.Acquire(ctx)
	fmt.Println(err)
	lease.Release(nil)

	// Every connection is made anew, with the certificates as they are on disk.
	fmt.Println(pool.Control(ctx, endpoint.Control{Op: endpoint.Reload, ID: "press_1"}))
	// Output:
	// endpoint press_1: endpoint is paused true
	// <nil>
	// <nil>
}

func ExampleDial() {
	address, stop := device()
	defer stop()
	u, _ := endpoint.Parse("tcp://" + address)
	conn, err := endpoint.Dial(context.Background(), u, endpoint.DialOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Println(conn.RemoteAddr().String() == address)
	// Output: true
}
