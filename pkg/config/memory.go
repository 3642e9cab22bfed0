package config

import "fmt"

// What a gateway needs to run an item, and to change to it while it runs another
// document, in bytes. Measured with 50,000 and 200,000 variables (2.2 KiB each once they
// run), with as much again for a change.
const (
	memoryVariable = 5 << 10
	memoryOther    = 32 << 10
	memoryText     = 4 // per byte of the canonical form
)

// DefaultMemory is the budget of a document where nothing else is said
// (policy.document_memory).
const DefaultMemory = GiB

// Memory returns about how many bytes a gateway needs for d.
func (d *Document) Memory() Size {
	n := 0
	for i, t := range Tables() {
		each := memoryOther
		if t == Variables {
			each = memoryVariable
		}
		n += each * len(d.tables[i])
		for _, it := range d.tables[i] {
			n += memoryText * len(it.JSON)
		}
	}
	return Size(n)
}

// Fits returns an error if a gateway with that budget can't run d.
func (d *Document) Fits(budget Size) error {
	if need := d.Memory(); need > budget {
		return fmt.Errorf("the document needs about %s of memory (%d variables), and policy.document_memory allows %s: split it among gateways, or raise that in gateway.yml",
			need/MiB*MiB, len(d.Items(Variables)), budget)
	}
	return nil
}
