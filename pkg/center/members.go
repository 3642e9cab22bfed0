package center

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// askMember bounds how long one server is asked.
const askMember = 2 * time.Second

// Members asks each server of a store by itself, also those that only another server
// knows, whether it is up. It needs no majority, so it is for a store that can't be
// opened. The last diagnosis says what that means.
func Members(ctx context.Context, cfg Config) []Diagnosis {
	cfg.setDefaults()
	d := &doctor{store: &Store{cfg: cfg}}
	asked, up, members := []string{}, 0, 0
	leader := false
	for todo := slices.Clone(cfg.Endpoints); len(todo) > 0; todo = todo[1:] {
		endpoint := todo[0]
		if slices.Contains(asked, plainEndpoint(endpoint)) {
			continue
		}
		asked = append(asked, plainEndpoint(endpoint))
		st, others, err := d.store.askMember(ctx, endpoint)
		if err != nil {
			d.sick("member", "%s is down: %v", endpoint, err)
			continue
		}
		up++
		leader = leader || st.Leader != 0
		members = max(members, len(others))
		for _, m := range others {
			todo = append(todo, m...)
		}
		d.fine("member", "%s is up: version %s, %s", endpoint, st.Version, leaderText(st))
	}
	members = max(members, len(asked))
	switch need := members/2 + 1; {
	case up == 0:
		d.sick("majority", "no server answers: nothing can be pushed or read; gateways run on with what they have, and start with it")
	case up < need || !leader:
		d.sick("majority", "%d of %d servers are up and %d are needed: nothing can be pushed or read until one more is started; gateways run on with what they have, and start with it",
			up, members, need)
	default:
		d.fine("majority", "%d of %d servers are up, %d are needed", up, members, need)
	}
	return d.found
}

func leaderText(st *clientv3.StatusResponse) string {
	if st.Leader == 0 {
		return "without a leader"
	}
	return fmt.Sprintf("leader %x", st.Leader)
}

// plainEndpoint is an endpoint without its scheme, to be compared.
func plainEndpoint(endpoint string) string {
	_, at, found := strings.Cut(endpoint, "://")
	if !found {
		return endpoint
	}
	return at
}

// askMember asks one server for its status, and for the client addresses of all members as
// it knows them.
func (s *Store) askMember(ctx context.Context, endpoint string) (st *clientv3.StatusResponse, members [][]string, err error) {
	alone := &Store{cfg: s.cfg}
	alone.cfg.Endpoints = []string{endpoint}
	tlsConfig, err := alone.tlsConfig()
	if err != nil {
		return nil, nil, err
	}
	// Without the user: to log in takes a majority.
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, TLS: tlsConfig, Logger: zap.NewNop(), MaxUnaryRetries: 1,
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(failFast)},
	})
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = etcd.Close() }() // it was only asked
	ctx, cancel := context.WithTimeout(ctx, askMember)
	defer cancel()
	if st, err = etcd.Status(ctx, endpoint); err != nil {
		return nil, nil, alone.classify("ask", err)
	}
	list, err := etcd.MemberList(ctx, clientv3.WithSerializable())
	if err != nil {
		return st, nil, nil //nolint:nilerr // it is up, and that is what was asked
	}
	for _, m := range list.Members {
		members = append(members, m.ClientURLs)
	}
	return st, members, nil
}
