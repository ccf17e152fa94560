package flow_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	graphsim "mfaflow/pkg/sim/graph"
	sbsim "mfaflow/pkg/sim/servicebus"
)

const (
	mei      = "mei.tanaka@contoso.example" // six methods, Authenticator is the default
	meiID    = "10000000-0000-4000-8000-000000000011"
	oliver   = "oliver.grant@contoso.example" // phones only
	oliverID = "10000000-0000-4000-8000-000000000012"
	priya    = "priya.nair@contoso.example"  // kinds that v1.0 lacks
	jonas    = "jonas.weber@contoso.example" // a kind nobody knows
	tomas    = "tomas.berg@contoso.example"  // manager of the last three

	mobileID    = "3179e48a-750b-4051-897c-87b9720928f7"
	alternateID = "b6332ec1-7057-4abe-9331-3d72feddfe41"
)

// about is an event of the help desk, or of a risk system, about a person.
func (w *world) about(id string, typ event.Type, person string, data map[string]any) map[string]any {
	all := map[string]any{"person": map[string]any{"userPrincipalName": person}}
	if strings.HasPrefix(string(typ), "mfa.") && typ != event.CodesUnrequested && typ != event.CodesNotReceived {
		all["requestedBy"] = daniela
	}
	for name, v := range data {
		all[name] = v
	}
	e := w.statement(id, string(typ), all)
	e["subject"] = person
	return e
}

func (w *world) reregister(id, person string, data map[string]any) map[string]any {
	return w.about(id, event.Reregister, person, data)
}

// delivers wants one pass in the mailbox, and that it opens the account now.
func (w *world) delivers(mailbox, person string) {
	w.t.Helper()
	got := w.delivered(mailbox)
	if len(got) != 1 {
		w.t.Fatalf("%d passes delivered", len(got))
	}
	if err := w.tenant.SignInWithPass(person, got[0]); err != nil {
		w.t.Error(err)
	}
}

// passBeforeLoss wants that the pass was issued and delivered before the first method
// was taken.
func (w *world) passBeforeLoss() {
	w.t.Helper()
	issued, mailed, removed := -1, -1, -1
	for i, r := range w.tenant.Requests() {
		switch {
		case r.Status >= 300:
		case r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/temporaryAccessPassMethods"):
			issued = i
		case strings.HasSuffix(r.Path, "/sendMail"):
			mailed = i
		case r.Method == http.MethodDelete && removed < 0:
			removed = i
		}
	}
	if issued < 0 || mailed < issued || removed < mailed {
		w.t.Errorf("issued at %d, mailed at %d, first method removed at %d", issued, mailed, removed)
	}
}

// removals are the method deletions that the tenant confirmed.
func (w *world) removals() (n int) {
	for _, r := range w.tenant.Requests() {
		if r.Method == http.MethodDelete && r.Status < 300 && !strings.Contains(r.Path, "/temporaryAccessPassMethods/") {
			n++
		}
	}
	return n
}

// The reset of the person with six methods, under everything that Graph's
// documentation leaves open about the default method.
func TestFullReregistration(t *testing.T) {
	for _, text := range []graphsim.DefaultMethodText{graphsim.NewerText, graphsim.OlderText} {
		for _, last := range []graphsim.LastDefaultMethod{graphsim.LastDefaultDeletable, graphsim.LastDefaultKept} {
			for _, preferences := range []graphsim.PreferenceEffect{graphsim.PreferencesApplied, graphsim.PreferencesIgnored} {
				for _, serial := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, last %s, preferences %s, serial %v", text, last, preferences, serial), func(t *testing.T) {
						w := newWorld(t)
						w.worker.SerialRemoval = serial
						w.tenant.Mutate(func(t *graphsim.Tenant) {
							t.Behaviour.DefaultMethodText, t.Behaviour.LastDefaultMethod, t.Behaviour.SignInPreferences = text, last, preferences
						})
						w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
						w.work()
						var want []string
						if last == graphsim.LastDefaultKept {
							want = []string{"microsoftAuthenticator"}
							w.flagged(flag.MethodsRemain)
						} else {
							w.flagged()
						}
						if got := w.methods(mei); !slices.Equal(got, want) {
							t.Errorf("left %v, want %v", got, want)
						}
						w.passBeforeLoss()
						w.delivers(amara, mei)
						if !w.enabled(mei) || w.revokedAt(mei).Before(t0) || w.outcome(meiID, "helpdesk:h1") != "done" {
							t.Errorf("enabled %v, sessions valid since %s, outcome %q", w.enabled(mei), w.revokedAt(mei), w.outcome(meiID, "helpdesk:h1"))
						}
						w.secretFree()
					})
				}
			}
		}
	}
}

// Kinds that the v1.0 API does not list, and a kind that nobody knows: the first are
// removed, the second is reported as remaining and never as removed.
func TestFullReregistrationOfStrangeKinds(t *testing.T) {
	w := newWorld(t)
	w.post(w.reregister("h1", priya, map[string]any{"mode": "full"}), 202)
	w.work()
	if got := w.methods(priya); len(got) != 0 {
		t.Errorf("left %v", got)
	}
	w.flagged()

	w = newWorld(t)
	w.post(w.reregister("h1", jonas, map[string]any{"mode": "full"}), 202)
	w.work()
	if got := w.methods(jonas); !slices.Equal(got, []string{"veinPattern"}) {
		t.Errorf("left %v", got)
	}
	w.flagged(flag.MethodsRemain)
	if got := w.flags()[0]; !strings.Contains(got.Detail, "veinPattern") || strings.Contains(got.Detail, "fido2") {
		t.Errorf("the flag names %q", got.Detail)
	}
	if !strings.Contains(w.log.String(), "remaining: veinPattern") {
		t.Error("the audit trail does not report what remains")
	}
}

// A mobile phone cannot go while an alternate one depends on it, whichever of the two
// is the default.
func TestFullReregistrationOfDependentPhones(t *testing.T) {
	for _, first := range []string{mobileID, alternateID} {
		t.Run(first, func(t *testing.T) {
			w := newWorld(t)
			w.tenant.Mutate(func(t *graphsim.Tenant) { t.User(oliver).DefaultMethod = first })
			w.post(w.reregister("h1", oliver, map[string]any{"mode": "full"}), 202)
			w.work()
			if got := w.methods(oliver); len(got) != 0 {
				t.Errorf("left %v", got)
			}
			w.flagged()
			w.delivers(tomas, oliver)
		})
	}
}

// Surgical: what was registered after the intrusion goes, what is older stays, and
// what cannot be judged is listed. Nobody needs a pass who keeps a way in.
func TestSurgicalReregistration(t *testing.T) {
	since := map[string]any{"mode": "surgical", "registeredAfter": t0.Add(-time.Hour).Format(time.RFC3339)}
	t.Run("an intruder's method", func(t *testing.T) {
		w := newWorld(t)
		had := w.methods(mei)
		w.must(w.tenant.RegisterMethod(mei, graphsim.Method{Kind: "fido2", ID: "intruder"}))
		w.post(w.reregister("h1", mei, since), 202)
		w.work()
		if got := w.methods(mei); !slices.Equal(got, had) {
			t.Errorf("left %v, want %v", got, had)
		}
		if len(w.tenant.IssuedPassValues()) != 0 || w.revokedAt(mei).Before(t0) {
			t.Error("a pass was issued, or the sessions live on")
		}
		w.flagged(flag.MethodsRemain)
		for _, kind := range []string{"phone", "softwareOath", "email"} {
			if detail := w.flags()[0].Detail; !strings.Contains(detail, "not judged") || !strings.Contains(detail, kind) {
				t.Errorf("the flag does not list %s: %q", kind, detail)
			}
		}
	})
	t.Run("nothing that can be judged", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.reregister("h1", oliver, since), 202)
		w.work()
		if w.removals() != 0 || w.revokedAt(oliver).Before(t0) {
			t.Error("a method went, or the sessions live on")
		}
		w.flagged(flag.MethodsRemain)
	})
	t.Run("nothing else to sign in with", func(t *testing.T) {
		w := newWorld(t)
		w.must(w.tenant.RegisterMethod(lena, graphsim.Method{Kind: "fido2", ID: "intruder"}))
		w.post(w.reregister("h1", lena, since), 202)
		w.work()
		if got := w.methods(lena); len(got) != 0 {
			t.Errorf("left %v", got)
		}
		w.passBeforeLoss()
		w.delivers(amara, lena)
	})
}

func TestNamedReregistration(t *testing.T) {
	w := newWorld(t)
	w.post(w.reregister("h1", mei, map[string]any{"mode": "named", "methods": []any{
		map[string]any{"kind": "softwareOath"}, map[string]any{"id": mobileID, "kind": "phone"},
	}}), 202)
	w.work()
	if got := w.methods(mei); !slices.Equal(got, []string{"email", "fido2", "microsoftAuthenticator", "windowsHelloForBusiness"}) {
		t.Errorf("left %v", got)
	}
	if len(w.tenant.IssuedPassValues()) != 0 || w.revokedAt(mei).Before(t0) {
		t.Error("a pass was issued, or the sessions live on")
	}
	w.flagged()
	w.idle(nil)

	// Naming the last way in is naming a person without one.
	w = newWorld(t)
	w.post(w.reregister("h1", victor, map[string]any{"mode": "named", "methods": []any{
		map[string]any{"kind": "fido2"}, map[string]any{"kind": "phone"}, map[string]any{"kind": "microsoftAuthenticator"},
	}}), 202)
	w.work()
	if got := w.methods(victor); len(got) != 0 {
		t.Errorf("left %v", got)
	}
	w.passBeforeLoss()
	w.delivers(tomas, victor)
}

// Each item of a batch that is throttled is tried again by itself, inside the turn
// when the wait is short and after a retry when it is not.
func TestThrottledRemoval(t *testing.T) {
	for name, wait := range map[string]string{"within the turn": "2", "longer than a turn": "90", "without a word how long": ""} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.tenant.AddFault(graphsim.Fault{
				Kind: graphsim.FaultStatus, Status: 429, RetryAfter: wait, Method: http.MethodDelete, Path: "users/*/authentication/**", Skip: 1, Count: 3,
			})
			w.must(err)
			var inLane time.Duration
			w.worker.Pause = func(_ context.Context, d time.Duration) error { inLane += d; return nil }
			w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
			w.work()
			if inLane > 20*time.Second {
				t.Errorf("the lane was kept for %s", inLane)
			}
			w.settle()
			if got := w.methods(mei); len(got) != 0 {
				t.Errorf("left %v", got)
			}
			w.passBeforeLoss()
			w.delivers(amara, mei) // one pass, although the event ran twice
			if n := w.removals(); n != 6 {
				t.Errorf("%d methods removed", n)
			}
			w.idle(nil)
		})
	}
}

// Whatever keeps a pass from working keeps the methods, too.
func TestReregistrationThatNeedsAHuman(t *testing.T) {
	full := map[string]any{"mode": "full"}
	for name, c := range map[string]struct {
		person, user string
		change       func(*world)
		waits        string
		flags        []flag.Cause
	}{
		"excluded from the pass policy": {
			person: "yusuf.demir@contoso.example", user: "10000000-0000-4000-8000-000000000010", waits: "held: pass-policy-excludes-person",
			change: func(w *world) {
				w.must(w.tenant.RegisterMethod("yusuf.demir@contoso.example", graphsim.Method{Kind: "fido2", ID: "key"}))
			},
		},
		"excluded, but Graph would issue": {
			person: "yusuf.demir@contoso.example", user: "10000000-0000-4000-8000-000000000010", waits: "held: pass-policy-excludes-person",
			change: func(w *world) {
				w.must(w.tenant.RegisterMethod("yusuf.demir@contoso.example", graphsim.Method{Kind: "fido2", ID: "key"}))
				w.tenant.Mutate(func(t *graphsim.Tenant) { t.Behaviour.PassOutsidePolicy = graphsim.PassCreated })
			},
		},
		"pass policy disabled": {
			person: mei, user: meiID, waits: "held: pass-policy-disabled",
			change: func(w *world) { w.policy(func(p *graphsim.PassPolicy) { p.State = "disabled" }) },
		},
		"somebody else's pass": {person: mei, user: meiID, waits: "held: foreign-pass", change: func(w *world) { w.issueByHand(meiID) }},
		"nobody to give it to": {
			person: "noah.fischer@contoso.example", user: "10000000-0000-4000-8000-000000000005", waits: "held: no-recipient",
			change: func(w *world) {
				w.must(w.tenant.RegisterMethod("noah.fischer@contoso.example", graphsim.Method{Kind: "fido2", ID: "key"}))
			},
		},
		"external guest": {
			person: "fabrice.morel_partner.example#EXT#@contoso.example", user: "10000000-0000-4000-8000-000000000023", waits: "held: external-guest",
		},
		"disabled account": {person: mei, user: meiID, waits: "held: account-disabled", change: func(w *world) {
			w.tenant.Mutate(func(t *graphsim.Tenant) { t.User(mei).AccountEnabled = false })
		}},
		"administrator": {person: "helena.strand@contoso.example", user: "10000000-0000-4000-8000-000000000015", waits: "held: protected-person"},
		"break-glass account": {
			person: "emergency1@contoso.example", user: "10000000-0000-4000-8000-000000000018", waits: "held: protected-person",
			change: func(w *world) {
				w.worker.Settings.ProtectRoleHolders = false
				w.worker.Settings.ProtectedAccounts = []identity.UserID{"10000000-0000-4000-8000-000000000018"}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.change != nil {
				c.change(w)
			}
			had, issued := w.methods(c.person), len(w.tenant.IssuedPassValues())
			w.post(w.reregister("h1", c.person, full), 202)
			w.work()
			if got := w.waits(c.user); got != c.waits {
				t.Errorf("lane %q, want %q", got, c.waits)
			}
			if got := w.methods(c.person); !slices.Equal(got, had) || len(w.tenant.IssuedPassValues()) != issued || !w.revokedAt(c.person).Before(t0) {
				t.Errorf("something was done: methods %v of %v", got, had)
			}
			w.flagged(flag.Held)
		})
	}
}

// Who is protected is read before anything is done: as long as that cannot be told,
// nothing is.
func TestUnreadableProtectionFailsClosed(t *testing.T) {
	for _, path := range []string{"roleManagement/directory/roleAssignments", "users/*/transitiveMemberOf/**"} {
		for _, status := range []int{403, 503} {
			t.Run(fmt.Sprint(path, " ", status), func(t *testing.T) {
				w := newWorld(t)
				_, err := w.tenant.AddFault(graphsim.Fault{Kind: graphsim.FaultStatus, Status: status, Path: path, App: "identity-worker", Count: -1})
				w.must(err)
				w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
				w.post(w.leaver("l1", "E1027", map[string]any{"immediate": true}), 202)
				w.work()
				if w.tenant.Faults()[0].Hits == 0 {
					t.Fatal("nobody reads that")
				}
				if w.writes() != 0 || !w.enabled(victor) {
					t.Errorf("%d writes", w.writes())
				}
				if c := w.counts("lanes"); c.Deferred+c.DeadLetter != 2 {
					t.Errorf("an event is neither waiting nor a dead letter: %+v", c)
				}
			})
		}
	}
}

// The hold ends when its cause does and an operator says so.
func TestReregistrationIsReleased(t *testing.T) {
	w := newWorld(t)
	w.policy(func(p *graphsim.PassPolicy) { p.State = "disabled" })
	w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
	w.work()
	w.decide(meiID, lane.Release, "olga")
	if got := w.waits(meiID); got != "held: pass-policy-disabled" || w.removals() != 0 {
		t.Fatalf("released against the policy: lane %s, %d methods removed", got, w.removals())
	}
	w.policy(func(p *graphsim.PassPolicy) { p.State = "enabled" })
	w.decide(meiID, lane.Release, "olga")
	w.delivers(amara, mei)
	if got := w.methods(mei); len(got) != 0 {
		t.Errorf("left %v", got)
	}
}

func TestLostDevice(t *testing.T) {
	t.Run("with its methods", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.about("h1", event.DeviceLost, mei, map[string]any{
			"device": map[string]any{"name": "Pixel 9"}, "methods": []any{map[string]any{"kind": "microsoftAuthenticator"}, map[string]any{"kind": "phone"}},
		}), 202)
		w.work()
		if got := w.methods(mei); !slices.Equal(got, []string{"email", "fido2", "softwareOath", "windowsHelloForBusiness"}) {
			t.Errorf("left %v", got)
		}
		if w.revokedAt(mei).Before(t0) || !w.enabled(mei) {
			t.Error("the sessions live on, or the account is blocked")
		}
		w.passBeforeLoss()
		w.delivers(amara, mei)
		w.flagged()
		w.secretFree()
	})
	t.Run("whose default cannot be moved", func(t *testing.T) {
		w := newWorld(t)
		w.tenant.Mutate(func(t *graphsim.Tenant) { t.Behaviour.SignInPreferences = graphsim.PreferencesIgnored })
		w.post(w.about("h1", event.DeviceLost, mei, map[string]any{"methods": []any{map[string]any{"kind": "microsoftAuthenticator"}}}), 202)
		w.work()
		w.flagged(flag.MethodsRemain)
		if got := w.flags()[0].Detail; !strings.Contains(got, "remaining: microsoftAuthenticator") || len(w.methods(mei)) != 6 {
			t.Errorf("flagged %q, left %v", got, w.methods(mei))
		}
	})
	t.Run("nobody knows which methods", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.about("h1", event.DeviceLost, mei, map[string]any{"device": map[string]any{"name": "Pixel 9"}}), 202)
		w.work()
		if got := w.waits(meiID); got != "held: methods-not-named" || w.removals() != 0 || len(w.tenant.IssuedPassValues()) != 0 {
			t.Errorf("lane %s", got)
		}
		w.flagged(flag.DeviceLost, flag.Held)
	})
}

func TestLostAccessKeepsTheRest(t *testing.T) {
	w := newWorld(t)
	w.post(w.about("h1", event.AccessLost, oliver, map[string]any{"methods": []any{map[string]any{"id": alternateID, "kind": "phone"}}}), 202)
	w.work()
	if got := w.tenant.Methods(oliver); len(got) != 2 {
		t.Errorf("left %v", w.methods(oliver))
	}
	if len(w.tenant.IssuedPassValues()) != 0 || !w.revokedAt(oliver).Before(t0) {
		t.Error("a person who keeps a way in needs no pass, and their sessions are theirs")
	}
	w.flagged()

	// Everything they had: a pass comes first.
	w = newWorld(t)
	w.post(w.about("h1", event.AccessLost, oliver, map[string]any{"methods": []any{map[string]any{"kind": "phone"}}}), 202)
	w.work()
	if got := w.methods(oliver); len(got) != 0 {
		t.Errorf("left %v", got)
	}
	w.passBeforeLoss()
	w.delivers(tomas, oliver)

	// Named, but not registered: nothing happens.
	w = newWorld(t)
	w.post(w.about("h1", event.AccessLost, oliver, map[string]any{"methods": []any{map[string]any{"kind": "fido2"}}}), 202)
	w.work()
	if w.removals() != 0 || w.outcome(oliverID, "helpdesk:h1") != "done" {
		t.Error("something was removed")
	}
}

func TestCodesNotAskedFor(t *testing.T) {
	code := func(w *world, id string, repeated bool) map[string]any {
		data := map[string]any{"channel": "push"}
		if repeated {
			data["repeated"] = true
		}
		return w.about(id, event.CodesUnrequested, mei, data)
	}
	t.Run("once", func(t *testing.T) {
		w := newWorld(t)
		w.post(code(w, "h1", false), 202)
		w.work()
		w.flagged(flag.CodesUnrequested)
		if !w.enabled(mei) || w.removals() != 0 || !w.revokedAt(mei).Before(t0) {
			t.Error("one code is no compromise")
		}
	})
	t.Run("repeated", func(t *testing.T) {
		w := newWorld(t)
		w.post(code(w, "h1", true), 202)
		w.work()
		w.compromised(mei)
		w.flagged(flag.CodesUnrequested)
	})
	for level, blocks := range map[string]bool{"low": false, "medium": true, "high": true} {
		t.Run("with "+level+" risk", func(t *testing.T) {
			w := newWorld(t)
			w.must(w.tenant.SetRisk(mei, level, "atRisk"))
			w.post(code(w, "h1", false), 202)
			w.work()
			if blocks {
				w.compromised(mei)
			} else if !w.enabled(mei) {
				t.Error("blocked")
			}
			w.flagged(flag.CodesUnrequested)
		})
	}
	t.Run("with a risk that was dismissed", func(t *testing.T) {
		w := newWorld(t)
		w.must(w.tenant.SetRisk(mei, "high", "dismissed"))
		w.post(code(w, "h1", false), 202)
		w.work()
		if !w.enabled(mei) {
			t.Error("blocked")
		}
	})
}

// Codes that do not arrive are never sent again: the flag says what to look at.
func TestCodesThatDoNotArrive(t *testing.T) {
	w := newWorld(t)
	w.post(w.about("h1", event.CodesNotReceived, oliver, map[string]any{"channel": "sms"}), 202)
	w.work()
	w.flagged(flag.CodesNotReceived)
	f := w.flags()[0]
	if !strings.Contains(f.Detail, "sms") || !strings.Contains(f.NextStep, "Microsoft may block sending") || f.User != oliverID || f.Key != "helpdesk:h1" {
		t.Errorf("flag %+v", f)
	}
	for _, r := range w.tenant.Requests() {
		if r.Method != http.MethodGet && r.App == "identity-worker" {
			t.Errorf("%s %s", r.Method, r.Path)
		}
	}
	w.idle(map[string]sbsim.Counts{"flags": {Active: 1}})
}

func TestTemporarilyBlocked(t *testing.T) {
	w := newWorld(t)
	w.post(w.about("h1", event.TemporarilyBlocked, oliver, map[string]any{"channel": "voice"}), 202)
	w.work()
	w.flagged(flag.TemporarilyBlocked)
	if len(w.tenant.IssuedPassValues()) != 0 {
		t.Error("nobody asked for a pass")
	}

	w = newWorld(t)
	w.post(w.about("h1", event.TemporarilyBlocked, oliver, map[string]any{"passRequested": true}), 202)
	w.work()
	w.flagged(flag.TemporarilyBlocked)
	w.delivers(tomas, oliver)
	if w.removals() != 0 || !w.revokedAt(oliver).Before(t0) {
		t.Error("a pass to get by with takes nothing away")
	}
	w.secretFree()
}

// The pass that got lost in delivery takes nothing with it: no method goes before the
// pass is in somebody's hands.
func TestUndeliveredPassKeepsTheMethods(t *testing.T) {
	w := newWorld(t)
	_, err := w.tenant.AddFault(graphsim.Fault{Kind: graphsim.FaultStatus, Status: 403, Path: "users/*/sendMail", Count: -1})
	w.must(err)
	had := w.methods(mei)
	w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
	w.settle()
	if got := w.methods(mei); !slices.Equal(got, had) || w.removals() != 0 {
		t.Errorf("left %v of %v", got, had)
	}
	if got := w.waits(meiID); got != "held: delivery-failed" {
		t.Errorf("lane %s", got)
	}
	w.secretFree()
}

// compromised wants the person shut out as after a compromise: no sign-in, no session,
// no pass, no method, another password.
func (w *world) compromised(person string) {
	w.t.Helper()
	u, _ := w.tenant.User(person)
	pass := w.tenant.PassReason(person)
	if u.AccountEnabled || w.revokedAt(person).Before(t0) || pass != "" && pass != "Expired" || len(w.methods(person)) != 0 {
		w.t.Errorf("enabled %v, sessions valid since %s, pass %q, methods %v", u.AccountEnabled, w.revokedAt(person), pass, w.methods(person))
	}
	if synced := u.OnPremisesSyncEnabled != nil && *u.OnPremisesSyncEnabled; u.ForceChangePassword == synced {
		w.t.Errorf("password change forced: %v, synced: %v", u.ForceChangePassword, synced)
	}
	for _, value := range w.tenant.IssuedPassValues() {
		if err := w.tenant.SignInWithPass(person, value); !errors.Is(err, graphsim.ErrAccountDisabled) {
			w.t.Errorf("a pass: %v", err)
		}
	}
}
