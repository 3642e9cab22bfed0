package dyn

// Limits bound what the process of a driver may use of the machine.
type Limits struct {
	// Memory is how many bytes of private memory it may have that it can write to
	// (RLIMIT_DATA), of each process that it starts too.
	Memory int64
}

const (
	maxFiles     = 256      // descriptors
	maxProcesses = 256      // processes and threads, besides those that the gateway's user has already
	maxFileSize  = 64 << 20 // bytes of each file that it writes
	niceness     = 5        // a driver that computes for ever gets what is left
)

// minMemory is the least that a process starts with.
const minMemory = 64 << 20
