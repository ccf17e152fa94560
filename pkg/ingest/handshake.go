package ingest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

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
