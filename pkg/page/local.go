package page

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Local passes on to next what comes from this machine, by a name of this machine. The
// name matters: a page of another site whose name was made to lead to 127.0.0.1 would
// otherwise read what is shown here. What a proxy hands on comes from elsewhere.
func Local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if proxied := r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != ""; !proxied && isLoopback(r.RemoteAddr) && isLocalName(r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		_, port, err := net.SplitHostPort(r.Host)
		if err != nil {
			port = "80"
		}
		refuse(w, http.StatusForbidden, fmt.Sprintf("The status page is shown on the gateway's own machine only, at http://127.0.0.1:%[1]s/.\n"+
			"From elsewhere: ssh -L %[1]s:127.0.0.1:%[1]s GATEWAY, and then that address here; or page.listen in gateway.yml.", port))
	})
}

func isLoopback(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// isLocalName reports whether the Host of a request is this machine's loopback.
func isLocalName(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
