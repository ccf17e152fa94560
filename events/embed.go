// Package events embeds the event catalogue: schemas, samples, mappings and
// golden plans. README.md is its page.
//
// It imports the standard library only and interprets nothing.
package events

import (
	"embed"
	"io/fs"
)

//go:embed README.md
var page string

// Page is the catalogue's page, in Markdown; its runbook is read by pkg/runbook.
func Page() string { return page }

//go:embed schemas samples invalid mappings hr risk golden
var files embed.FS

// FS is the catalogue as a file tree. Its folders are described in README.md.
func FS() fs.FS { return files }
