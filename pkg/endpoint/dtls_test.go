package endpoint

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

func TestDTLSHandshake(t *testing.T) {
	ca, stranger := newAuthority(t, "plant"), newAuthority(t, "stranger")
	good := ca.issue("good", tomorrow())
	client, wrongClient := ca.issue("edge", tomorrow(), "edge"), stranger.issue("edge", tomorrow(), "edge")
	mutual := []string{"-Verify", "2", "-verify_return_error", "-CAfile", ca.file}
	psk := func(suite string) []string {
		return []string{"-nocert", "-psk", "00112233445566778899aabbccddeeff", "-psk_identity", "line1", "-cipher", suite}
	}
	const user = "line1:00112233445566778899aabbccddeeff@"
	trust := "&ca=" + ca.file
	cert := func(p pair) string { return "&client_cert=" + p.cert + "&client_key=" + p.key }

	tests := []struct {
		name   string
		server []string
		user   string
		query  string
		want   error
	}{
		{"one-sided", serverArgs(good), "", trust, nil},
		{"mutual", serverArgs(good, mutual...), "", trust + cert(client), nil},
		{"server_name", serverArgs(ca.issue("named", tomorrow(), "plc1")), "", trust + "&server_name=plc1", nil},
		{"PSK", psk("PSK"), user, "", nil},
		{"PSK CCM8", psk("PSK-AES128-CCM8"), user, "", nil},
		{"PSK GCM", psk("PSK-AES128-GCM-SHA256"), user, "", nil},
		{"PSK forward secret", psk("ECDHE-PSK-CHACHA20-POLY1305"), user, "", nil},
		{"wrong CA", serverArgs(good), "", "&ca=" + stranger.file, ErrUnknownAuthority},
		{"expired", serverArgs(ca.issue("old", time.Now().Add(-time.Hour))), "", trust, ErrCertificateExpired},
		{"wrong name", serverArgs(ca.issue("other", tomorrow(), "plc2")), "", trust, ErrCertificateName},
		{"no client certificate", serverArgs(good, mutual...), "", trust, ErrClientCertificate},
		{"refused client certificate", serverArgs(good, mutual...), "", trust + cert(wrongClient), ErrClientCertificate},
		{"no CA file", serverArgs(good), "", "&ca=/nonexistent.pem", ErrCertificateFile},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startOpenSSL(t, append(tt.server, "-dtls1_2")...)
			c, err := Dial(context.Background(), mustParse(t, "dtls://"+tt.user+s.addr+"?timeout=5s"+tt.query), DialOptions{})
			if tt.want != nil {
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := io.WriteString(c, "a question\n"); err != nil {
				t.Fatal(err)
			}
			s.seen("a question")
			s.say("an answer\n")
			buf := make([]byte, 10)
			if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "an answer\n" {
				t.Errorf("read %q, %v", buf, err)
			}
		})
	}
	t.Run("wrong PSK", func(t *testing.T) {
		s := startOpenSSL(t, append(psk("PSK"), "-dtls1_2")...)
		_, err := Dial(context.Background(), mustParse(t, "dtls://line1:ffff@"+s.addr+"?timeout=2s"), DialOptions{})
		if err == nil {
			t.Error("a wrong key was accepted")
		}
	})
}
