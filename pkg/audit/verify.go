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
		opened, hash, err := open(lines.Bytes())
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		l := opened.Link
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

// open checks a line's seal and reads it.
func open(text []byte) (line, string, error) {
	head := len(text) - len(sealClose) - 2*sha256.Size - len(sealOpen)
	if head < 1 || !bytes.HasPrefix(text[head:], []byte(sealOpen)) || !bytes.HasSuffix(text, []byte(sealClose)) {
		return line{}, "", errors.New("the record has no hash")
	}
	body := append(bytes.Clone(text[:head]), '}')
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if string(text[head+len(sealOpen):len(text)-len(sealClose)]) != hash {
		return line{}, "", errors.New("the record was changed: its hash does not fit")
	}
	var l line
	if err := json.Unmarshal(body, &l); err != nil {
		return line{}, "", fmt.Errorf("the record is no JSON: %w", err)
	}
	return l, hash, nil
}

// Found is a record as it stands in a log.
type Found struct {
	Record
	Writer   string
	Sequence int64
	// Line is the record as it was written, without the end of the line.
	Line []byte
}

// Read hands the records of a log to each, in the order of the log, until each returns an
// error, which it returns. It passes over what is no record. A record whose seal does not
// hold proves nothing: it is left out and part of the error. Use Verify to learn whether
// any is missing.
func Read(r io.Reader, each func(Found) error) error {
	var problems []error
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if !bytes.HasPrefix(lines.Bytes(), []byte(`{"audit":`)) {
			continue
		}
		l, _, err := open(lines.Bytes())
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		if err := each(Found{Record: l.record(), Writer: l.Link.Writer, Sequence: l.Link.Sequence, Line: bytes.Clone(lines.Bytes())}); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		problems = append(problems, fmt.Errorf("read the audit trail: %w", err))
	}
	return errors.Join(problems...)
}
