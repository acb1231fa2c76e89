package foreign

import (
	"bufio"
	"crypto/sha1" // the OVF standard's own; it tells an accident, not an enemy
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"io"
	"regexp"
	"strings"

	"github.com/clade-vm/clade"
)

// maxChecksums bounds a manifest of checksums.
const maxChecksums = 64 << 10

// checksums are those of an OVF's manifest (.mf), by the name of the file.
type checksums map[string]checksum

type checksum struct {
	algorithm string
	sum       string // in lower-case hex
}

var checksumLine = regexp.MustCompile(`^([A-Za-z0-9-]+)\s*\(\s*(.*?)\s*\)\s*=\s*([0-9A-Fa-f]+)$`)

// readChecksums reads lines like SHA256(disk.vmdk)= 12ab...
func readChecksums(r io.Reader) (checksums, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxChecksums+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxChecksums {
		return nil, refusal(clade.Corrupt, "its checksums have more than %d bytes", maxChecksums)
	}
	sums := make(checksums)
	for lines := bufio.NewScanner(strings.NewReader(string(data))); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		parts := checksumLine.FindStringSubmatch(line)
		if parts == nil {
			return nil, refusal(clade.Corrupt, "a line of its checksums is %.100q", line)
		}
		name := strings.TrimPrefix(parts[2], "./")
		if _, there := sums[name]; there {
			return nil, refusal(clade.Corrupt, "its checksums have %.100q twice", name)
		}
		sums[name] = checksum{strings.ToUpper(strings.ReplaceAll(parts[1], "-", "")), strings.ToLower(parts[3])}
	}
	return sums, nil
}

// A proof takes the bytes of a file and tells whether they are the right ones.
type proof struct {
	hash.Hash
	name string
	want string
}

// proof begins the proof of a file. Checksums that leave it out prove nothing of
// it: kind Corrupt.
func (c checksums) proof(name string) (*proof, error) {
	sum, there := c[name]
	if !there {
		return nil, refusal(clade.Corrupt, "its checksums leave out %.100q", name)
	}
	p := &proof{name: name, want: sum.sum}
	switch sum.algorithm {
	case "SHA1":
		p.Hash = sha1.New()
	case "SHA256":
		p.Hash = sha256.New()
	case "SHA512":
		p.Hash = sha512.New()
	default:
		return nil, refusal(clade.Unsupported, "its checksums are of the kind %.40q", sum.algorithm)
	}
	return p, nil
}

func (p *proof) prove() error {
	if got := hex.EncodeToString(p.Sum(nil)); got != p.want {
		return hinted(clade.Corrupt, "fetch or copy it again", "the checksum of %.100q is %.16s…, not %.16s…", p.name, got, p.want)
	}
	return nil
}

// prove proves a file that is in memory.
func (c checksums) prove(name string, data []byte) error {
	p, err := c.proof(name)
	if err != nil {
		return err
	}
	_, _ = p.Write(data) // a hash never fails
	return p.prove()
}
