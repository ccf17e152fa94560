package operateapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Local says where the function of a stack on this machine is, and how to be let in.
type Local struct {
	URL       string `json:"url"`
	TokenFile string `json:"tokenFile"`
	// Settings is the folder of files <function>.env with the settings of each function.
	Settings string `json:"settings,omitempty"`
	// Origins are where functions listen, by their names.
	Origins map[string]string `json:"origins,omitempty"`
	// Management is where the broker's management API is.
	Management string `json:"management,omitempty"`
}

// Announce writes to path where the user's stack is; a later stack takes over. The folder
// of path is made, for nobody else to read.
func Announce(path string, l Local) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	whole, err := os.CreateTemp(filepath.Dir(path), ".announce-") // of mode 0600
	if err != nil {
		return err
	}
	_, err = whole.Write(text)
	if err = errors.Join(err, whole.Close()); err == nil {
		err = os.Rename(whole.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(whole.Name()))
	}
	return nil
}

// Withdraw removes what Announce wrote, unless it is another stack's by now.
func Withdraw(path string, l Local) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
		return nil //nolint:nilerr // it is gone, or not ours
	}
	return os.Remove(path)
}

// Find reads what Announce wrote: fs.ErrNotExist when no stack runs. It refuses a file of
// another user, who could have our token sent to a place of their own.
func Find(path string) (Local, error) {
	owner, err := ownerOf(path)
	if err != nil {
		return Local{}, err
	}
	if owner != strconv.Itoa(os.Getuid()) {
		return Local{}, fmt.Errorf("%s is another user's", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Local{}, err
	}
	var l Local
	err = decode(text, &l)
	return l, err
}
