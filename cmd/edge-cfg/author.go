package main

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// author says who is at the keyboard: a person, by --author or the context's, also where
// that person works as root or as the gateway's user. The etcd user is added by the
// store.
func author(cmd *cobra.Command) center.Author {
	var a center.Author
	a.Name = cmd.Flags().Lookup("author").Value.String()
	if a.Name == "" {
		if conn, err := findStore(cmd); err == nil { // an error was told when the store was opened
			a.Name = conn.Author
		}
	}
	if u, err := user.Current(); err == nil {
		a.OSUser = person(u, os.Getenv, loginName)
	}
	if host, err := os.Hostname(); err == nil {
		a.Host = host
	}
	return a
}

// firstPerson is the least user id that people have; below it are the system's own.
const firstPerson = 1000

// person returns the name of the person whose process runs as u: u, or who became u by
// sudo or doas, or who is logged in.
func person(u *user.User, env func(string) string, login func() string) string {
	if id, err := strconv.Atoi(u.Uid); err != nil || id >= firstPerson {
		return filepath.Base(u.Username)
	}
	for _, name := range []string{env("SUDO_USER"), env("DOAS_USER"), login()} {
		if name != "" && name != "root" {
			return name
		}
	}
	return u.Username
}

// loginName returns the user that the kernel knows as having logged in; "" if none has.
func loginName() string {
	text, err := regular.ReadFile(filepath.FromSlash("/proc/self/loginuid"), 4<<10)
	if err != nil {
		return ""
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || id < firstPerson || id == 1<<32-1 { // nobody has
		return ""
	}
	u, err := user.LookupId(strconv.FormatUint(id, 10))
	if err != nil {
		return ""
	}
	return u.Username
}
