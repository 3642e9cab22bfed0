// Package bus gives every frame its sequence number, logs it, and hands it to
// the consumers: in order, without a hole, and only once it is durable.
package bus
