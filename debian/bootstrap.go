package debian

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/recipe"
)

// needed are the packages every master has: what boots, what takes its identity
// from clade, and what clade reaches it through.
var needed = []string{
	"systemd-sysv", "dbus", "udev", "initramfs-tools", "zstd", "e2fsprogs", "grub2-common",
	"cloud-init", "cloud-guest-utils", "netplan.io", "systemd-resolved",
	"qemu-guest-agent", "openssh-server", "sudo",
}

// packages returns all that is to be installed for a recipe, sorted.
func packages(r *recipe.Recipe) []string {
	all := slices.Concat(needed, []string{r.Kernel}, r.Packages)
	switch bios, uefi := r.Boots(recipe.BIOS), r.Boots(recipe.UEFI); {
	case bios && uefi:
		all = append(all, "grub-cloud-amd64")
	case bios:
		all = append(all, "grub-pc-bin")
	case uefi:
		all = append(all, "grub-efi-amd64-bin", "grub-efi-amd64-signed", "shim-signed")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// command returns mmdebstrap's arguments. The disk is its standard input: mke2fs,
// which runs as another user in a namespace, needs no way to it through the
// caller's directories.
func (b *build) command() []string {
	configure := `chroot "$1" sh /clade-build/configure.sh ` + b.root.String() + " " + quote(strings.Join(b.Recipe.Boot, " "))
	image := fmt.Sprintf(`sh "$1/clade-build/image.sh" "$1" %s %d %d`, b.root, b.layout.root.start, b.layout.root.size>>10)
	args := []string{
		"--mode=unshare", "--variant=minbase", "--format=null", "--architectures=amd64", "--verbose",
		"--skip=cleanup", // done by the scripts: the disk is made before mmdebstrap would
		"--aptopt=Acquire::Languages \"none\"",
		"--include=" + strings.Join(packages(b.Recipe), ","),
		"--customize-hook=tar-in " + quote(b.path("files.tar")) + " /",
		"--customize-hook=" + configure,
		"--customize-hook=tar-out /clade-build/boot " + quote(b.path("boot.tar")),
		"--customize-hook=" + image,
		b.Recipe.Suite, "/dev/null",
	}
	if b.Recipe.Mirror != "" {
		args = append(args, b.Recipe.Mirror)
	}
	return args
}

// bootstrap installs the system and makes its root file system on the disk.
func (b *build) bootstrap(ctx context.Context, p clade.Progress) error {
	files, err := os.OpenFile(b.path("files.tar"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer files.Close()
	if err := writeFiles(files, b.files()); err != nil {
		return err
	}
	disk, err := b.blank()
	if err != nil {
		return err
	}
	defer disk.Close()
	scratch, err := newScratch()
	if err != nil {
		return err
	}
	defer scratch.remove()
	log, err := os.OpenFile(b.Log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()

	out := newOutput(log, p)
	err = b.install(ctx, disk, scratch.dir, out)
	out.close()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return out.explain(err, b.Log)
	}
	return nil
}

// watch runs mmdebstrap in its own process group, and ends the whole group when it
// is itself told to end: mmdebstrap cleans up after itself then, but only if all
// its processes hear of it.
const watch = `trap 'trap "" TERM; kill -TERM 0' TERM
"$@" <&3 3<&- &
wait $!
status=$?
[ $status -lt 128 ] || wait $! || :
exit $status`

// install runs mmdebstrap. It ends with ctx, and also when clade is killed.
func (b *build) install(ctx context.Context, disk *os.File, scratch string, out *output) error {
	args := slices.Concat([]string{"-c", watch, "sh", find("mmdebstrap")}, b.command())
	cmd := exec.CommandContext(ctx, "/bin/sh", args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{disk}
	cmd.Dir = "/"
	cmd.Env = append(plainEnv(), "TMPDIR="+scratch)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	runtime.LockOSThread() // Pdeathsig is about the thread, which must not end before
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what did not end in a minute
	}
	return err
}

// blank makes the empty disk. Its mode lets the namespace's root write it, which
// nobody else can: the directory it lies in is closed.
func (b *build) blank() (*os.File, error) {
	disk, err := os.OpenFile(b.raw, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := disk.Chmod(0o666); err != nil {
		disk.Close()
		return nil, err
	}
	if err := disk.Truncate(b.layout.disk); err != nil {
		disk.Close()
		return nil, err
	}
	return disk, nil
}

// convert makes the qcow2 file out of the disk and puts it into its place.
func (b *build) convert(ctx context.Context, p clade.Progress) error {
	p.Tell(clade.Event{Step: "convert disk"})
	made := b.path("disk.qcow2")
	cmd := exec.CommandContext(ctx, find("qemu-img"), "convert", "-f", "raw", "-O", "qcow2", "-S", "64k", "-W", b.raw, made)
	cmd.Env = plainEnv()
	text, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return classify(fmt.Errorf("qemu-img: %w: %.300q", err, text), string(text))
	}
	if err := flush(made); err != nil {
		return err
	}
	if err := os.Rename(made, b.Dst); err != nil {
		return err
	}
	if err := flush(filepath.Dir(b.Dst)); err != nil {
		return err
	}
	p.Tell(clade.Event{Step: "convert disk", End: true})
	return nil
}

func (b *build) path(name string) string { return filepath.Join(b.dir, name) }

// flush makes sure that a file or a directory is on the disk.
func flush(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// plainEnv is the environment without what would change the tools' messages or
// what they do to the new system.
func plainEnv() []string {
	env := []string{"LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "PATH=" + searchPath}
	for _, name := range []string{"HOME", "USER", "LOGNAME", "http_proxy", "https_proxy", "no_proxy"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// quote makes s one word for sh and for mmdebstrap's own commands.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
