package debian

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/clade-vm/clade"
)

// searchPath is where the tools are looked for; some are in sbin, which is not on
// an ordinary user's PATH.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A Tool is a program that building needs.
type Tool struct {
	Name    string
	Package string   // what installs it, on Debian and its kin
	version []string // arguments that make it print its version
}

// Tools returns the programs that Build runs, for the user it runs as.
func Tools() []Tool {
	tools := []Tool{
		{"mmdebstrap", "mmdebstrap", []string{"--version"}},
		{"qemu-img", "qemu-utils", []string{"--version"}},
		{"unshare", "util-linux", []string{"--version"}},
		{"gpgv", "gpgv", []string{"--version"}},
	}
	if os.Getuid() != 0 {
		tools = append(tools, Tool{"newuidmap", "uidmap", nil}, Tool{"newgidmap", "uidmap", nil})
	}
	return tools
}

// Check examines, for the doctor, whether this computer can build masters. None
// of it is required: images can also be imported.
func Check(ctx context.Context) []clade.Check {
	var checks []clade.Check
	for _, t := range Tools() {
		c := clade.Check{Name: t.Name}
		if path := find(t.Name); path == "" {
			c.Found, c.Fix = "not found", "sudo apt-get install "+t.Package
		} else {
			c.OK, c.Found = true, t.read(ctx, path)
		}
		checks = append(checks, c)
	}
	keys := clade.Check{Name: "Debian's archive keys", OK: true, Found: keyring}
	if _, err := os.Stat(keyring); err != nil {
		keys.OK, keys.Found, keys.Fix = false, "not found", "sudo apt-get install debian-archive-keyring"
	}
	checks = append(checks, keys)
	if os.Getuid() != 0 {
		checks = append(checks, checkRanges())
	}
	return checks
}

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// read returns the first line of what the tool says about its version, or where it is.
func (t Tool) read(ctx context.Context, path string) string {
	if t.version == nil {
		return path
	}
	cmd := exec.CommandContext(ctx, path, t.version...)
	cmd.Env = plainEnv()
	out, err := cmd.Output()
	line, _, _ := strings.Cut(string(out), "\n")
	if err != nil || line == "" {
		return path
	}
	return strings.ToValidUTF8(line[:min(len(line), 120)], "?")
}

// checkRanges looks for the user's subordinate ids, which the new system's users
// are in an ordinary user's namespace.
func checkRanges() clade.Check {
	c := clade.Check{Name: "subordinate ids", Found: "none for this user"}
	name := fmt.Sprint(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	c.Fix = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 " + name
	uids, gids := hasRange("/etc/subuid", name), hasRange("/etc/subgid", name)
	if uids && gids {
		c.OK, c.Found, c.Fix = true, "in /etc/subuid and /etc/subgid", ""
	}
	return c
}

// hasRange reports whether a file of subordinate ids gives the user some.
func hasRange(file, name string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), name+":") {
			return true
		}
	}
	return false
}

// ready returns an error of kind Missing that names the first thing that is not
// there, or Unsupported on a computer that cannot run Debian's amd64 programs.
func ready(ctx context.Context) error {
	if runtime.GOARCH != "amd64" {
		return &clade.Error{Op: "build", On: "a master", Kind: clade.Unsupported,
			Err: fmt.Errorf("needs a computer of kind amd64, not %s", runtime.GOARCH), Hint: "import an image instead: clade import"}
	}
	var lacking, fixes []string
	for _, c := range Check(ctx) {
		if !c.OK {
			lacking, fixes = append(lacking, c.Name), append(fixes, c.Fix)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return &clade.Error{Op: "build", On: "a master", Kind: clade.Missing,
		Err: fmt.Errorf("not found: %s", strings.Join(lacking, ", ")), Hint: join(fixes)}
}

// join puts commands one after another, and what apt-get is to install into one.
func join(fixes []string) string {
	const install = "sudo apt-get install "
	var packages, others []string
	seen := make(map[string]bool)
	for _, fix := range fixes {
		if seen[fix] {
			continue
		}
		seen[fix] = true
		if name, ok := strings.CutPrefix(fix, install); ok {
			packages = append(packages, name)
		} else {
			others = append(others, fix)
		}
	}
	if len(packages) > 0 {
		others = append([]string{install + strings.Join(packages, " ")}, others...)
	}
	return strings.Join(others, " && ")
}

// find returns the path of a program, or "".
func find(name string) string {
	for _, dir := range filepath.SplitList(searchPath) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}
