package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"mfaflow/pkg/sim/servicebus/amqp"
)

// journal is the append-only file of one queue. It begins with journalMagic; then each
// record is a length, a checksum and the changes of one commit as an AMQP list, so that a
// commit is on disk as a whole or not at all.
type journal struct {
	path string
	file *os.File
	sync bool
	size int64
	base int64 // size after the last rewrite
}

const (
	journalMagic      = "mfaflow service bus journal 1\n"
	journalSuffix     = ".journal"
	recordHeaderSize  = 8
	maxRecordSize     = 64 << 20
	snapshotBatch     = 64      // changes per record of a rewritten journal
	minRewriteSize    = 4 << 20 // smaller journals are left alone
	rewriteGrowth     = 4       // times the size after the last rewrite
	journalPermission = 0o600
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// createJournal starts the journal of a new queue.
func createJournal(path string, sync bool, first []change) (*journal, error) {
	j := &journal{path: path, sync: sync}
	return j, j.rewrite(first)
}

// openJournal reads a journal back. A last record that was cut off is dropped: it was
// never confirmed to anybody. Damage before the last record is an error.
func openJournal(path string, sync bool, apply func(change) error) (*journal, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(data, []byte(journalMagic))
	if !ok {
		return nil, fmt.Errorf("%s is not a journal of this version", path)
	}
	for len(rest) > 0 {
		changes, after, err := readRecord(rest)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s, offset %d: %w", path, len(data)-len(rest), err)
		}
		for _, c := range changes {
			if err := apply(c); err != nil {
				return nil, fmt.Errorf("%s, offset %d: %w", path, len(data)-len(rest), err)
			}
		}
		rest = after
	}
	j := &journal{path: path, sync: sync, size: int64(len(data) - len(rest))}
	j.base = j.size
	if j.file, err = os.OpenFile(path, os.O_WRONLY, journalPermission); err != nil {
		return nil, err
	}
	if err := j.cut(); err != nil {
		j.file.Close()
		return nil, err
	}
	return j, nil
}

// readRecord reads the changes of the record at the front of b. A record that ends with
// the file and is incomplete or fails its checksum gives io.ErrUnexpectedEOF.
func readRecord(b []byte) ([]change, []byte, error) {
	if len(b) < recordHeaderSize {
		return nil, nil, io.ErrUnexpectedEOF
	}
	size := uint64(binary.BigEndian.Uint32(b))
	if size > uint64(len(b)-recordHeaderSize) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	body, rest := b[recordHeaderSize:recordHeaderSize+size], b[recordHeaderSize+size:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		if len(rest) == 0 {
			return nil, nil, io.ErrUnexpectedEOF
		}
		return nil, nil, errors.New("checksum mismatch")
	}
	v, _, err := amqp.Decode(body)
	if err != nil {
		return nil, nil, err
	}
	list, ok := v.(amqp.List)
	if !ok {
		return nil, nil, fmt.Errorf("record is %T", v)
	}
	changes := make([]change, len(list))
	for i, item := range list {
		if changes[i], err = decodeChange(item); err != nil {
			return nil, nil, err
		}
	}
	return changes, rest, nil
}

func appendRecord(b []byte, changes []change) ([]byte, error) {
	list := make(amqp.List, len(changes))
	for i, c := range changes {
		list[i] = c.encode()
	}
	start := len(b)
	b = amqp.Append(append(b, make([]byte, recordHeaderSize)...), list)
	body := b[start+recordHeaderSize:]
	if len(body) > maxRecordSize {
		return nil, fmt.Errorf("a commit of %d bytes is larger than the %d a record may have", len(body), maxRecordSize)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(body)))
	binary.BigEndian.PutUint32(b[start+4:], crc32.Checksum(body, castagnoli))
	return b, nil
}

// append writes the changes as one record. Once it returns, the operating system has
// them: they survive the death of this process, and with sync that of the machine.
func (j *journal) append(changes []change) error {
	record, err := appendRecord(nil, changes)
	if err != nil {
		return err
	}
	_, err = j.file.Write(record)
	if err == nil && j.sync {
		err = j.file.Sync()
	}
	if err != nil {
		return errors.Join(err, j.cut()) // what was written of the record must not stay before the next one
	}
	j.size += int64(len(record))
	return nil
}

// cut removes everything after the last whole record.
func (j *journal) cut() error {
	if err := j.file.Truncate(j.size); err != nil {
		return err
	}
	_, err := j.file.Seek(j.size, io.SeekStart)
	return err
}

// bloated reports whether most of the file is history.
func (j *journal) bloated() bool {
	return j.size > minRewriteSize && j.size > rewriteGrowth*j.base
}

// rewrite replaces the journal by one that holds only changes. The old file is whole
// until the new one has taken its name.
func (j *journal) rewrite(changes []change) error {
	b := []byte(journalMagic)
	var err error
	for len(changes) > 0 {
		n := min(snapshotBatch, len(changes))
		if b, err = appendRecord(b, changes[:n]); err != nil {
			return err
		}
		changes = changes[n:]
	}
	temporary := j.path + ".new"
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, journalPermission)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil && j.sync {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(temporary, j.path)
	}
	if err == nil && j.sync {
		err = syncDirectory(filepath.Dir(j.path))
	}
	if err != nil {
		file.Close()
		return err
	}
	if j.file != nil {
		j.file.Close() // everything it held is in the new file
	}
	j.file, j.size, j.base = file, int64(len(b)), int64(len(b))
	return nil
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (j *journal) close() error { return j.file.Close() }

// remove deletes the journal of a queue that is deleted.
func (j *journal) remove() error { return errors.Join(j.file.Close(), os.Remove(j.path)) }
