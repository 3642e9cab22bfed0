package backup

import (
	"errors"
	"hash"
	"io"
)

// partReader reads a part: one entry, or the entries of a stream one after the
// other. When it has come to the end, the reader stands at what follows.
type partReader struct {
	b    *reader
	part Part
	hash hash.Hash
	size int64
	n    int // pieces that were read to their end
	done bool
	err  error
}

func (p *partReader) Read(buf []byte) (int, error) {
	for {
		if p.err != nil {
			return 0, p.err
		}
		if p.done {
			return 0, io.EOF
		}
		n, err := p.b.tar.Read(buf)
		p.hash.Write(buf[:n])
		p.size += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			p.turn()
		case err != nil:
			p.err = damaged(err)
		}
		if n > 0 {
			return n, nil
		}
	}
}

// turn goes on to the next entry, which may be the stream's next piece.
func (p *partReader) turn() {
	p.b.sum(p.b.head.Name, [32]byte(p.hash.Sum(nil)))
	p.hash.Reset()
	p.n++
	p.b.next()
	if p.err = p.b.err; p.err != nil {
		return
	}
	if p.b.head == nil || !p.part.Stream || p.b.head.Name != p.part.Name+"/"+pieceName(p.n) {
		p.done = true
	}
}
