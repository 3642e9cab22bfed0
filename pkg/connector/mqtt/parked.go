package mqtt

// parks reports whether a refused message is put aside.
func (s *sender) parks(m *message, code byte) bool { return false }

func (s *sender) park(t *turn, m *message, reason *refusal) error { return nil }
