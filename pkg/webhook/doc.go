// Package webhook verifies and makes the signatures of webhooks, over the exact
// bytes that were sent. It imports the standard library only, parses no payload
// and holds no clock: the caller says what time it is.
//
// How a sender signs is configuration. One declarative [Config] covers every
// sender; what is known of a vendor is a preset (presets.json), so that a source
// names the preset and its keys:
//
//	{"preset": "standard-webhooks", "keys": ["whsec_...", "whpk_..."]}
//	{"preset": "bamboohr", "keys": ["<privateKey of the webhook>"]}
//	{"preset": "hibob",    "keys": ["<secret of the webhook>"]}
//	{"preset": "personio", "keys": ["<the static token, as configured there>"]}
//	{"preset": "okta",     "keys": ["<secret of the event hook, as configured there>"]}
//	{"preset": "deel",     "keys": ["<signing key>"]}
//	{"preset": "gusto",    "keys": ["<verification_token of the subscription>"]}
//	{"preset": "bearer",   "keys": ["<token>"]}
//	{"preset": "basic",    "keys": ["<user>:<password>"]}
//
// A sender without a preset is described in full; a field beside a preset
// overrides it:
//
//	{
//	  "header": "X-Acme-Signature", "prefix": "sha256=",
//	  "algorithm": "hmac-sha256", "encoding": "hex",
//	  "signed": "{header:X-Acme-Time}:{body}",
//	  "timestamp": {"header": "X-Acme-Time", "format": "unix", "tolerance": "5m"},
//	  "id": {"pointer": "/delivery/id"},
//	  "keys": ["new key", "old key"]
//	}
//
// # Rotation
//
// A delivery is accepted when any of its signatures verifies under any of the
// keys, so both sides can change keys one after the other.
//
// # Why templates are checked
//
// Where two parts that the sender controls touch in the signed content, bytes can
// move from one to the other under the same signature. So a header may not
// contain the literal beside it (an id with a "." is refused under Standard
// Webhooks), and a header may touch the body only if it is the timestamp (strict
// form) and the body is bounded there by a JSON bracket, as with BambooHR.
package webhook
