package readiness

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
)

// LatestSnapshot is the file of what the latest report was made of. There is one: the
// history is that of the reports, and what people have registered is nobody's business
// once it is no longer so.
const LatestSnapshot = "latest/snapshot.json.gz"

// maxSnapshot bounds what a file may unfold to: a hundred thousand people take 60 MiB.
const maxSnapshot = 1 << 30

// snapshotVersion is that of the file. A reader refuses every other.
const snapshotVersion = 1

// ErrSnapshot: the file is no whole snapshot of a version that this program knows.
var ErrSnapshot = errors.New("the snapshot cannot be read")

// snapshotHead is the first line of the file; a line for each of the people follows.
type snapshotHead struct {
	Version int `json:"version"`
	// Count is how many people follow: a file that was cut off has fewer.
	Count int `json:"count"`
	// Snapshot has no people and no principals, and of the policies what keptPolicies says:
	// the first follow, nothing rests on the second, and the others are read anew by whoever
	// decides by them.
	Snapshot posture.Snapshot `json:"snapshot"`
	// Members are those of groups by their place among the people: an object id is long and
	// cannot be compressed.
	Members map[string][]int `json:"members"`
}

// KeepSnapshot replaces the latest snapshot. Names and departments are left out, but for the
// user principal names that a policy file may use.
func KeepSnapshot(ctx context.Context, store Store, s posture.Snapshot) error {
	head := snapshotHead{Version: snapshotVersion, Count: len(s.People), Snapshot: s, Members: map[string][]int{}}
	head.Snapshot.People, head.Snapshot.Policies, head.Snapshot.Principals = nil, keptPolicies(s.Policies), nil
	head.Snapshot.Groups = map[string]posture.Group{}
	at := make(map[identity.UserID]int, len(s.People))
	for i := range s.People {
		at[s.People[i].ID] = i
	}
	for id, g := range s.Groups {
		kept := posture.Group{DisplayName: g.DisplayName, Members: []identity.UserID{}}
		for _, m := range g.Members {
			if i, ok := at[m]; ok {
				head.Members[id] = append(head.Members[id], i)
			} else {
				kept.Members = append(kept.Members, m)
			}
		}
		head.Snapshot.Groups[id] = kept
	}
	var file bytes.Buffer
	zip := gzip.NewWriter(&file)
	lines := json.NewEncoder(zip)
	if err := lines.Encode(head); err != nil {
		return err
	}
	for i := range s.People {
		p := s.People[i]
		p.DisplayName, p.Department = "", ""
		if err := lines.Encode(p); err != nil {
			return err
		}
	}
	if err := zip.Close(); err != nil {
		return err
	}
	return store.Put(ctx, LatestSnapshot, file.Bytes())
}

// keptPolicies are those that Gatherer.Refresh does not read.
func keptPolicies(p posture.Policies) posture.Policies {
	return posture.Policies{Guests: p.Guests, Federation: p.Federation}
}

// ReadSnapshot is the latest snapshot, without policies: Gatherer.Refresh reads them.
// ErrNoFile when there is none, ErrSnapshot when it cannot be read.
func ReadSnapshot(ctx context.Context, store Store) (posture.Snapshot, error) {
	file, err := store.Get(ctx, LatestSnapshot)
	if err != nil {
		return posture.Snapshot{}, err
	}
	zip, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return posture.Snapshot{}, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	lines := json.NewDecoder(bufio.NewReader(io.LimitReader(zip, maxSnapshot)))
	var head snapshotHead
	if err := lines.Decode(&head); err != nil {
		return posture.Snapshot{}, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if head.Version != snapshotVersion || head.Count < 0 {
		return posture.Snapshot{}, fmt.Errorf("%w: it has version %d, this program knows %d", ErrSnapshot, head.Version, snapshotVersion)
	}
	s := head.Snapshot
	same := map[string]string{} // one copy of what comes often
	intern := func(text string) string {
		if have, ok := same[text]; ok {
			return have
		}
		same[text] = text
		return text
	}
	for range head.Count {
		var p posture.Person
		if err := lines.Decode(&p); err != nil {
			return posture.Snapshot{}, fmt.Errorf("%w: %d of %d people are in it: %w", ErrSnapshot, len(s.People), head.Count, err)
		}
		for i, m := range p.Registration.Methods {
			p.Registration.Methods[i] = posture.Method(intern(string(m)))
		}
		p.Registration.Default = intern(p.Registration.Default)
		s.People = append(s.People, p)
	}
	if _, err := lines.Token(); !errors.Is(err, io.EOF) {
		return posture.Snapshot{}, fmt.Errorf("%w: it goes on behind its end", ErrSnapshot)
	}
	for id, members := range head.Members {
		g := s.Groups[id]
		for _, i := range members {
			if i < 0 || i >= len(s.People) {
				return posture.Snapshot{}, fmt.Errorf("%w: group %s has a member who is not in it", ErrSnapshot, id)
			}
			g.Members = append(g.Members, s.People[i].ID)
		}
		if s.Groups == nil {
			s.Groups = map[string]posture.Group{}
		}
		s.Groups[id] = g
	}
	return s, nil
}
