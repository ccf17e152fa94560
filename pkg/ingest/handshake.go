package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"mfaflow/pkg/webhook"
)

// Challenge is how a vendor asks whether it may deliver here. The zero value is none.
type Challenge string

// OktaChallenge is the one-time verification of an event hook
// (developer.okta.com/docs/concepts/event-hooks).
const OktaChallenge Challenge = "okta"

func (s Source) checkChallenge(v *webhook.Verifier) error {
	switch s.Challenge {
	case "":
		return nil
	case OktaChallenge:
		if v != nil && !v.Signs() {
			return nil
		}
		return errors.New("challenge: okta shows a secret, it does not sign; use the preset okta")
	default:
		return fmt.Errorf("challenge: %q is not okta", s.Challenge)
	}
}

// maxChallenge bounds what is echoed. Okta's are 40 to 60 characters.
const maxChallenge = 256

const challengeCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="

// meet answers Okta's one GET: the value of a header, as JSON. Whoever does not show
// the secret of the hook is told what any unauthentic delivery is told, and nothing is
// echoed that could be more than a token.
func (h *Handler) meet(w http.ResponseWriter, r *http.Request, src *source) *refusal {
	if _, err := src.verifier.Verify(r.Header, nil, h.now()); err != nil {
		return unauthentic(w, src, err)
	}
	values := r.Header.Values("X-Okta-Verification-Challenge")
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxChallenge || strings.Trim(values[0], challengeCharacters) != "" {
		return &refusal{status: http.StatusBadRequest, reason: "challenge", detail: "no challenge that can be answered"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_ = json.NewEncoder(w).Encode(map[string]string{"verification": values[0]}) // the sender may be gone
	return nil
}

// handshake consents to a sender's question whether it may deliver CloudEvents
// here (CloudEvents webhook specification section 4), if its origin is on the
// list; otherwise it answers nothing and reports false. The callback URL that a
// sender may offer is never called: it would make us fetch what a stranger names.
func handshake(w http.ResponseWriter, r *http.Request, src *source) bool {
	origin := r.Header.Get("WebHook-Request-Origin")
	allowed := slices.ContainsFunc(src.AllowedOrigins, func(o string) bool { return strings.EqualFold(o, origin) })
	if src.Format != CloudEvents || origin == "" || !allowed {
		return false
	}
	w.Header().Set("Allow", http.MethodPost)
	w.Header().Set("WebHook-Allowed-Origin", origin)
	rate := "*"
	if src.AllowedRate > 0 {
		limit := src.AllowedRate
		if asked, err := strconv.Atoi(r.Header.Get("WebHook-Request-Rate")); err == nil && asked > 0 {
			limit = min(limit, asked)
		}
		rate = strconv.Itoa(limit)
	}
	w.Header().Set("WebHook-Allowed-Rate", rate)
	w.WriteHeader(http.StatusOK)
	return true
}
