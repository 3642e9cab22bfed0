package main

import (
	"os/user"
	"testing"
)

// TestPerson: whoever works as root or as a service is named as the person who is.
func TestPerson(t *testing.T) {
	for _, tt := range []struct {
		uid, name, sudo, doas, login, want string
	}{
		{"1000", "ann", "", "", "", "ann"},
		{"1001", "bob", "ann", "", "ann", "bob"}, // su bob in ann's sudo
		{"0", "root", "ann", "", "", "ann"},
		{"0", "root", "", "ann", "bob", "ann"},
		{"0", "root", "root", "", "ann", "ann"},
		{"0", "root", "", "", "", "root"},
		{"998", "edge-gw", "ann", "", "", "ann"},
		{"998", "edge-gw", "", "", "", "edge-gw"},
		{"S-1-5-21", `PLANT\ann`, "", "", "", `PLANT\ann`},
	} {
		env := func(name string) string { return map[string]string{"SUDO_USER": tt.sudo, "DOAS_USER": tt.doas}[name] }
		if got := person(&user.User{Uid: tt.uid, Username: tt.name}, env, func() string { return tt.login }); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}
