//go:build !unix

package cli

// terminalWidth is not known here: nothing is cut.
func terminalWidth(any) int { return 0 }
