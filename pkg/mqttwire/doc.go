// Package mqttwire is what every client of a broker needs below its MQTT library, so that
// what a broker sends can't take more memory than was meant for it: the size of each packet
// is known before its content is read, CONNACK included, and what is said in HTTP before a
// WebSocket is ours has an end.
package mqttwire
