// Package mqtt is the MQTT 5 connector.
package mqtt
