// Package tenant embeds the sample tenant that the Graph simulator starts with. It holds
// the file and knows nothing of how it is read.
package tenant

import (
	_ "embed"
	"slices"
)

//go:embed sample.json
var sample []byte

// JSON is the sample tenant file.
func JSON() []byte { return slices.Clone(sample) }
