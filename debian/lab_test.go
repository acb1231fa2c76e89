//go:build lab

package debian_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/cloudinit"
	"github.com/clade-vm/clade/debian"
	"github.com/clade-vm/clade/recipe"
)

var keep = flag.String("keep", "", "keep the built masters in this directory, and use those that are there")

// TestMasters builds each built-in recipe, boots it under emulation on a network
// that leads nowhere, and asks the guest who it is.
func TestMasters(t *testing.T) {
	for _, name := range recipe.Names() {
		t.Run(name, func(t *testing.T) {
			disk := master(t, name)
			t.Run("bios", func(t *testing.T) { proveBIOS(t, disk) })
			t.Run("uefi", func(t *testing.T) { proveUEFI(t, disk) })
		})
	}
}

// master builds a recipe and returns the disk.
func master(t *testing.T, name string) string {
	dir := t.TempDir()
	if *keep != "" {
		dir = *keep
	}
	disk := filepath.Join(dir, name+".qcow2")
	if _, err := os.Stat(disk); err == nil && *keep != "" {
		return disk
	}
	r, err := recipe.Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	began, seen := time.Now(), make(map[string]bool)
	err = debian.Build(ctx, debian.Options{Recipe: r, Dst: disk, Work: dir}, func(e clade.Event) {
		if e.End {
			seen[e.Step] = true
			t.Logf("%6.1f s %s", time.Since(began).Seconds(), e.Step)
		}
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, clade.HintOf(err))
	}
	if !seen["install packages"] || !seen["convert disk"] {
		t.Errorf("steps told = %v", seen)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || (*keep == "" && len(left) != 1) {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if out, err := exec.Command("qemu-img", "check", disk).CombinedOutput(); err != nil {
		t.Errorf("qemu-img check: %v\n%s", err, out)
	}
	return disk
}

// TestCanceled ends a build while packages are being unpacked: nothing remains.
func TestCanceled(t *testing.T) {
	r, err := recipe.Builtin("debian-12")
	if err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp("", "lab-") // others must be able to pass
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(work)
	temp := filepath.Join(work, "temp")
	if err := errors.Join(os.Chmod(work, 0o755), os.Mkdir(temp, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	err = debian.Build(ctx, debian.Options{Recipe: r, Dst: filepath.Join(work, "disk.qcow2"), Work: work}, func(e clade.Event) {
		if e.Step == "install packages" && e.Done > 10 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left in the directory for temporary files: %v, %v", left, err)
	}
	if left, err := os.ReadDir(work); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v; want the log and the directory of this test", left, err)
	}
}

// proveBIOS boots with a seed and compares what the guest says with what it was told.
func proveBIOS(t *testing.T, disk string) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sshKey, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshKey)))
	seed := &cloudinit.Seed{InstanceID: "i-lab-7", Hostname: "web-7", SSHKeys: []string{key},
		UserData: []byte("#!/bin/sh\necho \"user's own text\" >/root/mark\n"),
		NICs:     []cloudinit.NIC{{MAC: net.HardwareAddr{0x52, 0x54, 0, 0xaa, 0xbb, 7}}},
	}
	g := boot(t, disk, seed)
	g.waitFor(t, "guest agent", func() bool { return g.ping() == nil })
	g.waitFor(t, "cloud-init", func() bool { return g.run(t, "cat /run/cloud-init/result.json 2>/dev/null || :") != "" })
	checks := []struct{ about, command, want string }{
		{"hostname", "hostname", "web-7"},
		{"hosts", "getent hosts web-7 | tr -s ' '", "127.0.1.1 web-7 web-7"},
		{"instance-id", "cat /var/lib/cloud/data/instance-id", "i-lab-7"},
		{"errors", `python3 -c 'import json; print(json.load(open("/run/cloud-init/result.json"))["v1"]["errors"])'`, "[]"},
		{"address", "ip -4 -br addr show up scope global | tr -s ' ' | cut -d' ' -f3", "10.0.2.15/24"},
		{"resolver", "readlink -f /etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf"},
		{"host keys", "ls /etc/ssh/ssh_host_*", "/etc/ssh/ssh_host_ed25519_key\n/etc/ssh/ssh_host_ed25519_key.pub"},
		{"user", "id -un 1000; sudo -u debian sudo -n id -u", "debian\n0"},
		{"key", "cat /home/debian/.ssh/authorized_keys", key},
		{"user-data", "cat /root/mark", "user's own text"},
		{"machine-id", "tr -d '0-9a-f\\n' </etc/machine-id; wc -c </etc/machine-id; cmp /etc/machine-id /var/lib/dbus/machine-id", "33"},
		{"services", "systemctl is-active ssh qemu-guest-agent serial-getty@ttyS0", "active\nactive\nactive"},
		{"failed units", "systemctl --failed --no-legend --plain", ""},
		{"timers", "systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer", "disabled\ndisabled"},
		{"size", "df --output=size -BG / | tail -1 | tr -d ' '", "10G"},
		{"owners", "stat -c '%U %a' / /etc/shadow /usr/bin/sudo /var/tmp", "root 755\nroot 640\nroot 4755\nroot 1777"},
		{"traces of the build", "ls -d /clade-build /usr/sbin/policy-rc.d /sbin/start-stop-daemon.REAL 2>/dev/null || :", ""},
		{"packages", "dpkg --audit; dpkg -V 2>&1 | grep -v '^..5...... c ' | grep -v '^missing     /usr/share' || :", ""},
		{"update-grub", "update-grub >/dev/null 2>&1 && grep -c \"root=UUID=$(findmnt -no UUID /) ro console=tty0 console=ttyS0\" /boot/grub/grub.cfg >/dev/null; echo $?", "0"},
		{"loaders installed again", "dpkg-trigger --no-await /usr/lib/shim && DEBIAN_FRONTEND=noninteractive dpkg --configure -a 2>&1 | grep -c 'No error reported'", "2"},
	}
	for _, c := range checks {
		if got := strings.TrimSpace(g.run(t, c.command)); got != c.want {
			t.Errorf("%s: the guest says %q, want %q", c.about, got, c.want)
		}
	}
	t.Log(g.run(t, "systemd-analyze; systemd-analyze blame | head -12"))

	// What the guest's own tools wrote must boot too.
	g.say("guest-shutdown", map[string]any{"mode": "reboot"}, nil)
	g.waitFor(t, "shutdown", func() bool { return g.ping() != nil })
	g.waitFor(t, "second boot", func() bool { return g.ping() == nil })
	if got := strings.TrimSpace(g.run(t, "hostname")); got != "web-7" {
		t.Errorf("after a reboot the hostname is %q", got)
	}
}

// proveUEFI boots with the firmware that a UEFI machine has.
func proveUEFI(t *testing.T, disk string) {
	const code, vars = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
	data, err := os.ReadFile(vars)
	if err != nil {
		t.Fatalf("%v\nsudo apt-get install ovmf", err)
	}
	mine := filepath.Join(t.TempDir(), "vars.fd")
	if err := os.WriteFile(mine, data, 0o600); err != nil {
		t.Fatal(err)
	}
	g := boot(t, disk, &cloudinit.Seed{InstanceID: "i-lab-8", Hostname: "web-8"},
		"-drive", "if=pflash,format=raw,readonly=on,file="+code, "-drive", "if=pflash,format=raw,file="+mine)
	g.waitFor(t, "guest agent", func() bool { return g.ping() == nil })
	if got := g.run(t, "test -d /sys/firmware/efi && ls /boot/efi/EFI/BOOT/"); !strings.Contains(got, "BOOTX64.EFI") {
		t.Errorf("the guest's EFI system partition has %q", got)
	}
	g.waitFor(t, "login", func() bool {
		text, _ := os.ReadFile(g.serial)
		return strings.Contains(string(text), " login: ")
	})
}

// A guest is a running machine and the way to its agent.
type guest struct {
	cmd    *exec.Cmd
	ended  chan error
	agent  string
	serial string
	began  time.Time
}

// boot starts a machine on an overlay of the disk. It ends with the test.
func boot(t *testing.T, disk string, seed *cloudinit.Seed, more ...string) *guest {
	dir := t.TempDir()
	g := &guest{agent: filepath.Join(dir, "ga"), serial: filepath.Join(dir, "serial"), began: time.Now(), ended: make(chan error, 1)}
	head, volume := filepath.Join(dir, "head.qcow2"), filepath.Join(dir, "seed.img")
	if err := seed.Write(volume); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk, head).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img create: %v\n%s", err, out)
	}
	mac := "52:54:00:99:99:99"
	if len(seed.NICs) > 0 {
		mac = seed.NICs[0].MAC.String()
	}
	g.cmd = exec.Command("qemu-system-x86_64", append([]string{"-accel", "tcg", "-M", "q35", "-cpu", "qemu64", "-smp", "1", "-m", "768",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "file:" + g.serial,
		"-drive", "if=none,id=disk,format=qcow2,file=" + head, "-device", "virtio-blk-pci,drive=disk",
		"-drive", "if=none,id=seed,format=raw,readonly=on,file=" + volume, "-device", "virtio-blk-pci,drive=seed",
		"-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,mac=" + mac, "-device", "virtio-rng-pci",
		"-chardev", "socket,id=ga,server=on,wait=off,path=" + g.agent,
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=ga,name=org.qemu.guest_agent.0"}, more...)...)
	g.cmd.Stderr = t.Output()
	if err := g.cmd.Start(); err != nil {
		t.Fatalf("%v\nsudo apt-get install qemu-system-x86", err)
	}
	go func() { g.ended <- g.cmd.Wait() }()
	t.Cleanup(func() {
		g.cmd.Process.Kill()
		<-g.ended
	})
	return g
}

// waitFor polls until the guest is so far, or fails the test.
func (g *guest) waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(8 * time.Minute); !done(); time.Sleep(time.Second) {
		select {
		case err := <-g.ended:
			g.ended <- err
			t.Fatalf("%s: QEMU ended: %v", what, err)
		default:
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(g.serial)
			t.Fatalf("%s: not after 8 minutes; the console's end:\n%s", what, text[max(0, len(text)-3000):])
		}
	}
	t.Logf("%6.1f s, %5.1f s of processor: %s", time.Since(g.began).Seconds(), g.processor(), what)
}

// processor returns the processor time that the machine has used, in seconds: a
// measure of the boot that does not depend on what else the computer does.
func (g *guest) processor() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var user, system float64
	fields := strings.Fields(rest)
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return (user + system) / 100
}

func (g *guest) ping() error { return g.say("guest-ping", nil, nil) }

// say sends one command to the agent and reads its answer.
func (g *guest) say(command string, arguments, result any) error {
	c, err := net.Dial("unix", g.agent)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if command == "guest-ping" {
		c.SetDeadline(time.Now().Add(2 * time.Second))
	}
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(c).Encode(request); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadBytes('\n')
	if err != nil {
		return err
	}
	answer := struct {
		Return any
		Error  *struct{ Desc string }
	}{Return: result}
	if err := json.Unmarshal(line, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return fmt.Errorf("%s: %s", command, answer.Error.Desc)
	}
	return nil
}

// run runs a command in the guest and returns what it prints.
func (g *guest) run(t *testing.T, command string) string {
	t.Helper()
	var started struct{ Pid int }
	err := g.say("guest-exec", map[string]any{"path": "/bin/sh", "arg": []string{"-c", command}, "capture-output": true}, &started)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var status struct {
			Exited bool
			Out    []byte `json:"out-data"`
			Err    []byte `json:"err-data"`
		}
		if err := g.say("guest-exec-status", map[string]any{"pid": started.Pid}, &status); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		if status.Exited {
			if len(status.Err) > 0 {
				t.Logf("%s: %s", command, status.Err)
			}
			return string(status.Out)
		}
	}
	t.Fatalf("%s: does not end", command)
	return ""
}
