// Package plcsim is a simulated PLC that speaks Modbus TCP, plain or over TLS:
// for the demo, for technicians without a device, and for tests. It stands on
// another Modbus library (simonvetter/modbus) than the driver, so that a mistake
// in one is not hidden by the same mistake in the other.
//
// A [Sim] has one listener and any number of units. Each unit has four tables
// (coils, discrete inputs, input and holding registers); a [Layout] says which
// signals move in them: counters, sines, random walks, toggles. [NewLayout] lays
// out any number of signals, and [Layout.Variables] gives the table of variables
// that reads them.
//
// Faults can be set while it runs: delayed answers, silence, exceptions by
// address, dropped connections, and power off.
package plcsim
