package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Chain is what Verify found of one writer.
type Chain struct {
	Writer string
	// Lines is how many lines were read; without a problem it equals Last.
	Lines int
	// Last is the sequence number of its last line, Hash that line's hash.
	Last int64
	Hash string
}

// maxLine bounds the memory that a foreign log can take.
const maxLine = 1 << 20

// Verify reads a log, passes over lines that are no audit lines, and checks every
// chain from its first line on. It returns the chains in the order in which they
// begin and all problems joined, each with its line number.
func Verify(r io.Reader) ([]Chain, error) {
	var (
		chains   []*Chain
		byWriter = map[string]*Chain{}
		problems []error
	)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if !bytes.HasPrefix(lines.Bytes(), []byte(`{"audit":`)) {
			continue
		}
		l, hash, err := open(lines.Bytes())
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		c := byWriter[l.Writer]
		if c == nil {
			c = &Chain{Writer: l.Writer}
			byWriter[l.Writer] = c
			chains = append(chains, c)
		}
		if l.Sequence != c.Last+1 {
			problems = append(problems, fmt.Errorf("line %d: writer %s goes from record %d to %d", n, l.Writer, c.Last, l.Sequence))
		} else if l.Previous != c.Hash {
			problems = append(problems, fmt.Errorf("line %d: record %d of writer %s does not follow the one before it", n, l.Sequence, l.Writer))
		}
		c.Lines++
		c.Last, c.Hash = l.Sequence, hash
	}
	if err := lines.Err(); err != nil {
		problems = append(problems, fmt.Errorf("read the audit trail: %w", err))
	}
	found := make([]Chain, len(chains))
	for i, c := range chains {
		found[i] = *c
	}
	return found, errors.Join(problems...)
}

// open checks a line's seal and reads its link.
func open(text []byte) (link, string, error) {
	head := len(text) - len(sealClose) - 2*sha256.Size - len(sealOpen)
	if head < 1 || !bytes.HasPrefix(text[head:], []byte(sealOpen)) || !bytes.HasSuffix(text, []byte(sealClose)) {
		return link{}, "", errors.New("the record has no hash")
	}
	body := append(bytes.Clone(text[:head]), '}')
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if string(text[head+len(sealOpen):len(text)-len(sealClose)]) != hash {
		return link{}, "", errors.New("the record was changed: its hash does not fit")
	}
	var l line
	if err := json.Unmarshal(body, &l); err != nil {
		return link{}, "", fmt.Errorf("the record is no JSON: %w", err)
	}
	return l.Link, hash, nil
}
