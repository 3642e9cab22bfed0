// Package wal is the log of frames on Pebble.
package wal
