package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/clade-vm/clade"
)

// metaPackages name the newest kernel of a distribution; the smallest come first.
var metaPackages = []string{"linux-image-cloud-amd64", "linux-image-virtual", "linux-image-amd64", "linux-image-generic"}

var kernelPackage = regexp.MustCompile(`^linux-(image|modules)-[0-9][a-z0-9.+-]*$`)

// distribution downloads the distribution's own kernel package with a private
// state of apt, which needs no root and changes nothing of the host's, and
// unpacks what is needed of it. apt proves the package by its own keys.
func (f finder) distribution(ctx context.Context, p clade.Progress) (*Kernel, error) {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("none in %s, and no %s to fetch one", f.boot, tool)
		}
	}
	aside, err := os.MkdirTemp(f.dir, ".apt-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(aside)
	a := apt{dir: aside}
	const step = "fetch a kernel"
	p.Tell(clade.Event{Step: step, Note: "package lists"})
	if err := a.update(ctx); err != nil {
		return nil, err
	}
	packages, err := a.kernelPackages(ctx)
	if err != nil {
		return nil, err
	}
	p.Tell(clade.Event{Step: step, Note: strings.Join(packages, " ")})
	if err := a.download(ctx, packages); err != nil {
		return nil, err
	}
	p.Tell(clade.Event{Step: step, Note: "unpack"})
	k, err := f.unpacked(filepath.Join(aside, "root"), "package "+packages[0])
	if err == nil {
		p.Tell(clade.Event{Step: step, Note: k.Release, End: true})
	}
	return k, err
}

// unpacked prepares the kernel that lies in an unpacked package.
func (f finder) unpacked(root, source string) (*Kernel, error) {
	images, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if len(images) != 1 {
		return nil, fmt.Errorf("%d kernel images in the %s", len(images), source)
	}
	release, err := kernelRelease(images[0])
	if err != nil {
		return nil, err
	}
	modules := filepath.Join(root, "lib/modules", release)
	if _, err := os.Stat(modules); err != nil { // newer packages
		modules = filepath.Join(root, "usr/lib/modules", release)
	}
	return f.prepare(release, images[0], modules, Kernel{Release: release, Source: source})
}

// An apt runs apt's programs with all of their state in a directory of its own;
// sources, keys and the proxy are the host's.
type apt struct{ dir string }

func (a apt) run(ctx context.Context, name string, args ...string) (string, error) {
	options := []string{
		"-o", "Dir::State=" + filepath.Join(a.dir, "state"), "-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "APT::Sandbox::User=root",
		"-o", "Acquire::Languages=none", "-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"-o", "Acquire::IndexTargets::deb::CNF::DefaultEnabled=false", "-q",
	}
	cmd := exec.CommandContext(ctx, name, append(options, args...)...)
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, errs := &tail{limit: 256 << 10}, &tail{limit: 16 << 10}
	cmd.Stdout, cmd.Stderr = out, errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%s %s: %w: %s", name, args[0], err, errs.last(3))
	}
	return out.String(), nil
}

func (a apt) update(ctx context.Context) error {
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return err
		}
	}
	_, err := a.run(ctx, "apt-get", "update")
	return err
}

// kernelPackages returns the package with the newest kernel, and the one with its
// modules where that is another.
func (a apt) kernelPackages(ctx context.Context) ([]string, error) {
	for _, meta := range metaPackages {
		image, err := a.depends(ctx, meta)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil || len(image) == 0 { // this distribution has no such package
			continue
		}
		more, err := a.depends(ctx, image[0])
		if err != nil {
			return nil, err
		}
		return append(image[:1], more...), nil
	}
	return nil, errors.New("no kernel package in the package lists")
}

// depends returns the kernel packages that one depends on.
func (a apt) depends(ctx context.Context, name string) ([]string, error) {
	out, err := a.run(ctx, "apt-cache", "depends", "--important", name)
	if err != nil {
		return nil, err
	}
	return kernelDepends(out), nil
}

// kernelDepends reads the answer of apt-cache depends.
func kernelDepends(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		_, name, ok := strings.Cut(strings.TrimSpace(line), "Depends: ")
		if ok && kernelPackage.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

// download fetches packages and unpacks them into root.
func (a apt) download(ctx context.Context, packages []string) error {
	if _, err := a.run(ctx, "apt-get", append([]string{"download"}, packages...)...); err != nil {
		return err
	}
	files, _ := filepath.Glob(filepath.Join(a.dir, "*.deb"))
	for _, file := range files {
		cmd := exec.CommandContext(ctx, "dpkg-deb", "-x", file, filepath.Join(a.dir, "root"))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("dpkg-deb: %w: %.200s", err, out)
		}
	}
	return nil
}
