package config

// scanItems reads the variables table's items one by one. It returns false if
// the file has a form that only the YAML library understands.
func (d *document) scanItems() bool { return false }
