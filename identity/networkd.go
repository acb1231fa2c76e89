package identity

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

var networkdMAC = regexp.MustCompile(`^\s*(?:Permanent)?MACAddress\s*=.*?(` + mac + `)`)

func findNetworkd(_ fs.FS, _, body string) []string {
	var values []string
	for line := range strings.Lines(body) {
		if m := networkdMAC.FindStringSubmatch(line); m != nil {
			values = append(values, strings.ToLower(m[1]))
		}
	}
	return values
}

// fixNetworkd takes the lines with a MAC out of a networkd file. A [Match] without
// any condition would match all cards and lo: in a .network file it becomes "any
// Ethernet card"; a .link file, which then only names a card that is gone, goes.
func fixNetworkd(_ fs.FS, name, body string) (string, error) {
	var out []string
	section, matchAt, conditions, dropped := "", -1, 0, false
	for line := range strings.Lines(body) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "[") {
			section = trimmed
		}
		if networkdMAC.MatchString(line) {
			dropped = dropped || section == "[Match]"
			continue
		}
		out = append(out, line)
		switch {
		case trimmed == "[Match]":
			matchAt = len(out)
		case section == "[Match]" && strings.Contains(trimmed, "=") && !strings.HasPrefix(trimmed, "#") && !strings.HasPrefix(trimmed, ";"):
			conditions++
		}
	}
	if dropped && conditions == 0 {
		if path.Ext(name) == ".link" || matchAt < 0 {
			return "", errGone
		}
		out = slices.Insert(out, matchAt, "Type=ether\n")
	}
	return strings.Join(out, ""), nil
}
