package live

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
)

//go:embed wake.sh
var wakeScript string

//go:embed hands.pl
var handsPerl string

//go:embed hands.py
var handsPython string

//go:embed prepare.sh
var prepareScript string

const (
	prepareWait = 5 * time.Minute // zeroes are written to all of its memory
	wakeWait    = 2 * time.Minute
	entropySize = 64 // bytes

	// ordersPipe and answerPipe are where wake.sh waits in the guest, and answerSize
	// the bytes that it answers with.
	ordersPipe = "/run/clade/orders"
	answerPipe = "/run/clade/answer"
	answerSize = 1024
)

// A Sleeper is a guest in which a process waits for orders; hypervisor.Guest is one.
type Sleeper interface {
	Order(ctx context.Context, pipe string, orders []byte, answer string, size int) ([]byte, error)
}

// renewed are the marks that every wake makes anew, and what it makes them of.
var renewed = map[string]bool{
	"machine-id": true, "ssh-host-keys": true, "hostname": true, "hosts": true, "random-seed": true, "cloud-init-instance": true,
	"cloud-init-seed": true, // the seed is a disk of the machine's own
	"hostid":          true,
}

// Prepare makes a running guest ready to be saved and resumed as many. uuid is the
// firmware's, that the guest was told; table the firmware's table with it.
// Kinds: Unsupported (the guest lacks a program that wakes need); those of the agent.
func Prepare(ctx context.Context, g Agent, id uuid.UUID, table []byte) error {
	var parts string
	if before, after, found := bytes.Cut(table, firmware(id)); found {
		parts = octal(before) + "\n" + octal(after) + "\n"
	}
	exit, err := execute(ctx, g, prepareWait, clade.Command{Args: []string{"/bin/sh", "-c", prepareScript, "clade-prepare", wakeScript, handsPerl, handsPython}, Input: []byte(parts)})
	if exit != nil && strings.HasPrefix(string(exit.Out), "failed ") {
		err = unsupported(errors.New(strings.TrimPrefix(firstLine(exit.Out), "failed ")))
	}
	if err == nil && firstLine(exit.Out) != "done" {
		err = unproven("the guest answers %.200q, not done", firstLine(exit.Out))
	}
	if err != nil {
		return explained("prepare", err)
	}
	return nil
}

// Twinned returns the marks that clones of the running guest would share although
// each of them is woken: conflicts and secrets that no wake makes anew.
func Twinned(ctx context.Context, g Agent) ([]identity.Finding, error) {
	var marks []identity.Mark
	for _, m := range identity.All() {
		if m.Default && m.Kind != identity.Residue && !renewed[m.Name] {
			marks = append(marks, m)
		}
	}
	return Read(ctx, g, marks)
}

// firmware is a UUID as it stands in the firmware's table: its first three parts
// begin with their last byte (SMBIOS 2.6).
func firmware(id uuid.UUID) []byte {
	b := id[:]
	return append([]byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]}, b[8:]...)
}

// A Waking says who a resumed guest is to be.
type Waking struct {
	Identity           // without an InstanceID, cloud-init will take it for a new machine
	UUID     uuid.UUID // the firmware's
	User     string    // who may log in with Keys
	Keys     []string  // lines of authorized_keys
	Seedless bool      // give no entropy. For tests only: siblings are twins then
	Now      time.Time // zero: the time when it is asked
}

// A Woken is who a guest is since it woke.
type Woken struct {
	MachineID string
	HostKey   string   // SSH fingerprint; empty where it has no SSH
	Draws     []string // digests of what its kernel drew
}

// Wake makes a guest that was resumed a machine of its own, before it has a network:
// it gives its orders to the process that Prepare left waiting there. Entropy, of which
// the kernel must make use at once, then the clock, names, ids and keys; then programs
// that hold old ones begin anew. What it answers is compared with what was asked. After
// an error the guest is a twin, and must be ended. Kinds: Invalid, Unproven, Unsupported
// (nothing waits there), Timeout, and the agent's.
func Wake(ctx context.Context, g Sleeper, to Waking) (*Woken, error) {
	if err := to.check(); err != nil {
		return nil, err
	}
	machineID := newMachineID()
	orders, hostKey, err := to.orders(machineID)
	if err != nil {
		return nil, explained("re-identify", err)
	}
	ctx, cancel := context.WithTimeout(ctx, wakeWait)
	defer cancel()
	said, err := g.Order(ctx, ordersPipe, orders, answerPipe, answerSize)
	if errors.Is(err, clade.NotFound) {
		err = &clade.Error{Kind: clade.Unsupported, Err: errors.New("nothing waits in it to be told who it is: an older clade kept it"),
			Hint: "warm the template again: clade template warm"}
	}
	if err != nil {
		return nil, explained("re-identify", err)
	}
	w, err := to.woken(string(said), machineID, hostKey)
	if err != nil {
		return nil, explained("re-identify", err)
	}
	return w, nil
}

// orders are the lines that wake.sh reads, and the public SSH host key among them.
func (to Waking) orders(machineID string) (lines []byte, hostKey ssh.PublicKey, err error) {
	var b bytes.Buffer
	say := func(key, value string) { fmt.Fprintf(&b, "%s %s\n", key, value) }
	if !to.Seedless {
		entropy := make([]byte, entropySize)
		_, _ = rand.Read(entropy) // never fails: crypto/rand
		say("entropy", hex.EncodeToString(entropy))
	}
	say("hostname", string(to.Hostname))
	say("machine-id", machineID)
	say("boot-id", uuid.NewString())
	say("uuid", to.UUID.String())
	say("dmi", octal(firmware(to.UUID)))
	if hostKey, err = sayHostKey(say); err != nil {
		return nil, nil, err
	}
	if to.InstanceID != "" {
		say("instance-id", to.InstanceID)
	}
	if len(to.Keys) > 0 {
		say("user", to.User)
	}
	for _, key := range to.Keys {
		say("key", strings.TrimSpace(key))
	}
	now := to.Now
	if now.IsZero() {
		now = time.Now()
	}
	say("time", fmt.Sprintf("%d %d", now.Unix(), now.Nanosecond()/1000))
	b.WriteString("end\n")
	return b.Bytes(), hostKey, nil
}

// sayHostKey makes a new SSH host key: to make it here spares the guest a program.
func sayHostKey(say func(key, value string)) (ssh.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	secret, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	say("host-key", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
	for line := range strings.Lines(string(pem.EncodeToMemory(secret))) {
		say("secret", strings.TrimSpace(line))
	}
	return key, nil
}

// octal writes bytes as printf's %b takes them.
func octal(data []byte) string {
	var b strings.Builder
	for _, c := range data {
		fmt.Fprintf(&b, `\0%03o`, c)
	}
	return b.String()
}

var userForm = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

func (to Waking) check() error {
	if err := to.Identity.check(); err != nil {
		return err
	}
	invalid := func(format string, args ...any) error {
		return &clade.Error{Op: "re-identify", On: "guest " + string(to.Hostname), Kind: clade.Invalid, Err: fmt.Errorf(format, args...)}
	}
	if len(to.Keys) > 0 && !userForm.MatchString(to.User) {
		return invalid("%.60q is nobody who can log in", to.User)
	}
	for i, key := range to.Keys {
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key)); err != nil || strings.ContainsAny(strings.TrimSpace(key), "\r\n\x00") {
			return invalid("SSH key %d is not a public key", i+1)
		}
	}
	return nil
}

var drawForm = regexp.MustCompile(`^[0-9a-f -]{36,128}$`)

// woken reads the guest's answer, of which nothing is believed that was not asked for.
func (to Waking) woken(said, machineID string, hostKey ssh.PublicKey) (*Woken, error) {
	w := &Woken{}
	var done bool
	var is, name string
	for line := range strings.Lines(said) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "failed":
			return nil, unproven("%.100q failed in the guest", value)
		case "draw", "uuid":
			if !drawForm.MatchString(value) {
				return nil, unproven("the guest drew %.100q", value)
			}
			sum := sha256.Sum256([]byte(value))
			w.Draws = append(w.Draws, hex.EncodeToString(sum[:]))
		case "host-key":
			key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(value))
			if err != nil || !bytes.Equal(key.Marshal(), hostKey.Marshal()) {
				return nil, unproven("the guest's host key is %.100q", value)
			}
			w.HostKey = ssh.FingerprintSHA256(key)
		case "machine-id":
			is = value
		case "hostname":
			name = value
		case "done":
			done = true
		}
	}
	switch {
	case !done || len(w.Draws) < 2:
		return nil, unproven("the guest did not come to its end: %.200q", said)
	case is != machineID:
		return nil, unproven("the guest's machine-id is %.60q, want %s", is, machineID)
	case name != string(to.Hostname):
		return nil, unproven("the guest is called %.60q, want %s", name, to.Hostname)
	}
	w.MachineID = machineID
	return w, nil
}
