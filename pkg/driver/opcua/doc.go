// Package opcua is the driver of OPC UA servers (OPC 10000). It reads and writes their
// variables, by subscription or by polling, over opc.tcp.
//
// It promises three things.
//
//   - It is never "connected" without values. Each subscription has a deadline for its
//     next message. A server that is silent for longer than three keep-alive intervals
//     is at fault, and the driver says so.
//   - A cut costs no value that the server still has. The session is activated again
//     over the new connection, or its subscriptions move to a new session, or they are
//     made anew. Messages that did not arrive are asked for again. What cannot be had is
//     told with a sys.gap frame.
//   - It is secure unless the configuration says otherwise: the strongest policy that
//     both sides have, a server that is on the trust list, and never None by itself.
//
// # Layers
//
//	address, settings, plan   what the tables say
//	crypt, channel            secure channel: chunks, keys, requests and answers
//	pki                       trust list, the gateway's own certificate
//	session                   discovery, choice of an endpoint, sessions, users
//	runner                    supervision: connect, notice silence, take up again
//	subscribe, items, read    subscriptions and nodes; mode poll
//	past                      what a driver leaves for the next one
//	structure, structtype     structures by their types' definitions
//	value, write              values of the server and back
//	browse, search, probe     for people
//
// Of the library gopcua/opcua the driver uses the encoding of messages and the
// algorithms of the policies. Its channel, client and reconnection are not used: after a
// cut they say "connected" and no value comes.
//
// # Goroutines
//
// The runner belongs to Run's goroutine and makes all requests of its own there. Each
// channel has one goroutine more, which reads. Writes and reads on demand send from
// their caller's goroutine; the channel numbers them. A goroutine of Run hands batches
// to the log, so that back-pressure does not stop the reading of answers.
//
// # Crash
//
// On disk are the trust list and, for each driver, until when it had values. A gateway
// that is killed leaves a session and its subscriptions at the server, which ends them
// after their timeout. The next start makes new ones, and tells with its first values of
// the gap since then, which it takes up to [pastEvery] too long.
package opcua
