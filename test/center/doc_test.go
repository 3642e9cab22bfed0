// Package center_test runs the config center against real processes: a cluster of
// three etcd members whose leader is killed, writers that are killed with kill -9,
// and many gateways on one embedded server. What is long is bounded here; the
// environment variable EDGE_CAMPAIGN runs it whole.
package center_test
