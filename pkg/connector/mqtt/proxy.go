package mqtt

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/proxy"

	"github.com/edge-gateway/edge-gateway/pkg/address"
	"github.com/edge-gateway/edge-gateway/pkg/mqttwire"
)

// parseProxy reads the setting proxy. What is a secret reference is read at each dial.
func parseProxy(text string) (address.URL, error) {
	if text == "" || strings.HasPrefix(text, "${") {
		return address.URL{}, nil
	}
	u, err := address.Parse(text)
	if err != nil || u.Hostname() == "" || u.Port() == "" || u.Scheme() != "http" && u.Scheme() != "socks5" {
		return address.URL{}, errors.New("proxy: expected http://[USER:PASSWORD@]HOST:PORT or socks5://[USER:PASSWORD@]HOST:PORT")
	}
	return u, nil
}

// dialProxy connects by way of a proxy, which looks up the broker's name.
func (d *dialer) dialProxy(ctx context.Context, run step) (*bounded, error) {
	text, err := d.secret(d.proxy)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	u, err := parseProxy(text)
	if err != nil {
		return nil, err
	}
	if u.None() {
		return nil, errors.New("proxy: the secret is empty")
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var c net.Conn
	err = run("proxy", func() (string, error) {
		if u.Scheme() == "socks5" {
			c, err = dialSOCKS(ctx, u.Reveal(), d.server.addr)
		} else {
			c, err = dialHTTP(ctx, u.Reveal(), d.server.addr)
		}
		return u.String(), err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u, err)
	}
	return &bounded{Conn: c}, nil
}

func dialSOCKS(ctx context.Context, u *url.URL, addr string) (net.Conn, error) {
	var auth *proxy.Auth
	if u.User != nil {
		password, _ := u.User.Password()
		auth = &proxy.Auth{User: u.User.Username(), Password: password}
	}
	p, err := proxy.SOCKS5("tcp", u.Host, auth, &net.Dialer{KeepAlive: 15 * time.Second})
	if err != nil {
		return nil, err
	}
	cd, ok := p.(proxy.ContextDialer)
	if !ok {
		return nil, errors.New("the library's SOCKS5 client takes no context")
	}
	return cd.DialContext(ctx, "tcp", addr)
}

// dialHTTP asks an HTTP proxy for a tunnel (RFC 9110, 9.3.6).
func dialHTTP(ctx context.Context, u *url.URL, addr string) (_ net.Conn, err error) {
	c, err := (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // ends what waits below
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			_ = c.Close() // given up
		}
	}()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if u.User != nil {
		password, _ := u.User.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
	}
	if err := req.Write(c); err != nil {
		return nil, err
	}
	head := mqttwire.NewGreeting(c)
	r := bufio.NewReader(head)
	resp, err := http.ReadResponse(r, req) //nolint:bodyclose // what follows the header is the connection itself
	if err != nil {
		return nil, fmt.Errorf("the proxy does not answer in HTTP: %w", err)
	}
	switch {
	case resp.StatusCode == http.StatusProxyAuthRequired:
		return nil, errors.New("the proxy wants a user and a password, or others: put them into proxy, http://USER:PASSWORD@HOST:PORT")
	case resp.StatusCode/100 != 2:
		return nil, fmt.Errorf("the proxy does not connect to %s: it said %s", addr, resp.Status)
	}
	head.Over()
	if r.Buffered() > 0 {
		return &ahead{Conn: c, r: r}, nil
	}
	return c, nil
}

// ahead is a connection of which something was read already.
type ahead struct {
	net.Conn
	r *bufio.Reader
}

// Read returns that first.
func (a *ahead) Read(p []byte) (int, error) { return a.r.Read(p) }
