package correlation

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// IsUUID takes lower case only.
func IsUUID(s string) bool { return hexGroups(s, 8, 4, 4, 4, 12) }

// hexGroups reports whether s is groups of so many lower-case hexadecimal digits,
// with hyphens between them.
func hexGroups(s string, lengths ...int) bool {
	for i, length := range lengths {
		group, rest, more := strings.Cut(s, "-")
		if len(group) != length || strings.Trim(group, "0123456789abcdef") != "" || more != (i < len(lengths)-1) {
			return false
		}
		s = rest
	}
	return true
}

func uuidForm(hex32 string) string {
	return hex32[:8] + "-" + hex32[8:12] + "-" + hex32[12:16] + "-" + hex32[16:20] + "-" + hex32[20:]
}

// New is a random UUID (RFC 9562 section 5.4).
func New() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return uuidForm(hex.EncodeToString(b[:]))
}
