package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/clade-vm/clade"
)

// The places of a user's files, after the XDG base directory specification.

// homeDir is where the home is when nobody says: $CLADE_HOME, for root
// /var/lib/clade, else $XDG_DATA_HOME/clade.
func homeDir() (string, error) {
	if dir := os.Getenv("CLADE_HOME"); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/lib/clade", nil
	}
	return xdg("XDG_DATA_HOME", ".local/share")
}

// cacheDir keeps what can be made again: built masters, the appliance.
func cacheDir() (string, error) {
	if os.Geteuid() == 0 && os.Getenv("XDG_CACHE_HOME") == "" {
		return "/var/cache/clade", nil
	}
	return xdg("XDG_CACHE_HOME", ".cache")
}

func xdg(variable, otherwise string) (string, error) {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "clade"), nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", &clade.Error{Op: "find", On: "your home directory", Kind: clade.Missing, Err: err, Hint: "set CLADE_HOME"}
	}
	return filepath.Join(user, otherwise, "clade"), nil
}

// runDir is where the sockets of a home lie: a short path, since a socket's has at
// most 107 bytes. Without a usable $XDG_RUNTIME_DIR it is in /tmp, in a directory
// that is the user's own and nobody else's.
func runDir(home string) (string, error) {
	sum := sha256.Sum256([]byte(home))
	short := hex.EncodeToString(sum[:4])
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && len(dir) < 40 && owned(dir) {
		return filepath.Join(dir, "clade", short), nil
	}
	dir := fmt.Sprintf("/tmp/clade-%d", os.Geteuid())
	if os.Geteuid() == 0 {
		dir = "/run/clade"
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", &clade.Error{Op: "make", On: dir, Kind: clade.Denied, Err: err, Hint: "set XDG_RUNTIME_DIR to a directory of your own"}
	}
	if !owned(dir) {
		return "", &clade.Error{Op: "use", On: dir, Kind: clade.Denied, Err: fmt.Errorf("it is not a directory of yours alone"),
			Hint: "remove it, or set XDG_RUNTIME_DIR to a directory of your own"}
	}
	return filepath.Join(dir, short), nil
}

// owned tells whether dir is a directory that only this user can change.
func owned(dir string) bool {
	st, err := os.Lstat(dir)
	if err != nil || !st.IsDir() || st.Mode().Perm()&0o022 != 0 {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Geteuid()
}
