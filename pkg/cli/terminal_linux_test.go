package cli_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"mfaflow/pkg/cli"
)

// terminal is a pseudo-terminal of so many columns, and what was written to it (pty(7)).
func terminal(t *testing.T, columns uint16) (tty *os.File, written func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("a Linux without pseudo-terminals: %v", err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		text, _ := io.ReadAll(master) // it ends with EIO when nobody has the terminal open
		read <- string(text)
	}()
	return tty, func() string {
		tty.Close()
		defer master.Close()
		return <-read
	}
}

// On a terminal no line of a table is wrapped, and long work shows how far it is.
func TestOnATerminal(t *testing.T) {
	const columns = 72
	env, file := announced(t, newShelf(250)), filepath.Join(t.TempDir(), "a.plan")
	tty, written := terminal(t, columns)
	code := cli.Run(t.Context(), []string{"dead", "list"}, strings.NewReader(""), tty, tty, env)
	text := written()
	if code != 0 || strings.Count(text, "\n") < 100 {
		t.Errorf("code %d\n%s", code, text)
	}
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\r\n")); n > columns && strings.HasPrefix(line, "lanes/") {
			t.Errorf("%d columns: %s", n, line)
		}
	}

	run(t, "", env, "dead", "plan", "--all", "-o", file)
	tty, written = terminal(t, columns)
	code = cli.Run(t.Context(), []string{"dead", "replay", file, "--reason", "r", "--rate", "0", "--yes"}, strings.NewReader(""), io.Discard, tty, env)
	if text = written(); code != 0 || !strings.Contains(text, "\r[#########...............] 100/250  ") || !strings.Contains(text, "/s  0s left") || !strings.Contains(text, "] 250/250  ") {
		t.Errorf("code %d\n%q", code, text)
	}
}

// How far a run has come is a line that is drawn over and taken away at the end, and is
// never longer than the terminal.
func TestReadinessOnATerminal(t *testing.T) {
	env := onTenant(t)
	for _, columns := range []uint16{100, 10} {
		tty, written := terminal(t, columns)
		code := cli.Run(t.Context(), []string{"readiness", "--max-age", "0"}, strings.NewReader(""), io.Discard, tty, env)
		text := written()
		if code != 0 || !strings.Contains(text, "\r[") || !strings.HasSuffix(text, "\r\x1b[K") || strings.Contains(text, "\n") {
			t.Errorf("code %d\n%q", code, text)
		}
		for line := range strings.SplitSeq(text, "\r") {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\x1b[K")); n >= max(int(columns), 24) {
				t.Errorf("%d columns: %q", n, line)
			}
		}
		if columns == 100 && !strings.Contains(text, " people, ") {
			t.Errorf("%q", text)
		}
	}
}
