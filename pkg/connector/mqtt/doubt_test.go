package mqtt

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestLearnedSizeGrows: a size that was found out is not for ever; each time that it is
// found out again it holds twice as long.
func TestLearnedSizeGrows(t *testing.T) {
	now := time.Now()
	u := suspicion{learnedAt: now, patience: leastPatience}
	u.learned.Store(100)
	if u.grow(now.Add(leastPatience-1), 1000) || u.learned.Load() != 100 {
		t.Error("too early")
	}
	for _, want := range []int64{200, 400, 0} {
		now = now.Add(leastPatience)
		if !u.grow(now, 800) || u.learned.Load() != want {
			t.Errorf("%d, want %d", u.learned.Load(), want)
		}
	}
	if u.words != nil || u.grow(now.Add(maxPatience), 800) {
		t.Errorf("there is still a limit: %v", u.words)
	}
}

// TestTermsAreRenewed: what a server refused is asked of it again, but not soon.
func TestTermsAreRenewed(t *testing.T) {
	c := defaults()
	terms := newTerms(&c)
	terms.refused(&refusal{code: codeNoRetain})
	if terms.next().will != willFleeing || !terms.sure {
		t.Fatalf("%+v", terms)
	}
	terms.renew(terms.since.Add(sureFor))
	if terms.next().will != willFleeing {
		t.Error("asked again at once")
	}
	terms.renew(terms.since.Add(sureFor + 1))
	if terms.next().will != willWhole || terms.sure {
		t.Error("never asked again")
	}
	terms.doubt(errors.New("x")) // and what is unclear has its patience again
	if terms.next().will != willWhole {
		t.Error("given up at once")
	}
}

// TestRefusedCertificateIsNoDoubt: a broker that refuses our certificate, and sometimes
// closes the connection before it can say so, is not held to refuse the last will.
func TestRefusedCertificateIsNoDoubt(t *testing.T) {
	terms := newTerms(&Config{Status: StatusTopic{Enable: true, Retain: true}})
	alert := errors.New("connect: remote error: tls: unknown certificate authority")
	unanswered := fmt.Errorf("connect: %w", errUnanswered)
	terms.refused(alert)
	for range 20 {
		terms.refused(unanswered)
	}
	if got := terms.next(); got.will != willWhole {
		t.Errorf("what is offered is %+v", got)
	}
	if err := terms.accepted(true); err != nil {
		t.Errorf("once the certificate is renewed: %v", err)
	}
	for range patienceForWhole {
		terms.refused(unanswered)
	}
	if got := terms.next(); got.will == willWhole {
		t.Error("without a certificate in question the will is never doubted")
	}
}
