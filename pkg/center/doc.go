// Package center keeps the gateway's tables in etcd.
package center
