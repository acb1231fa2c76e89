package identity

import (
	"io/fs"
	"regexp"
	"strings"
)

var (
	netplanMAC  = regexp.MustCompile(`(?:"macaddress"|'macaddress'|\bmacaddress)\s*:\s*["']?(` + mac + `)["']?`)
	netplanFlow = regexp.MustCompile(`,?\s*` + netplanMAC.String() + `(\s*,)?`)
	netplanNone = regexp.MustCompile(`\{\s*\}`)
	netplanKey  = regexp.MustCompile(`^(\s*(?:-\s+)?)["']?([^\s"':#]+)["']?\s*:(.*)\n?$`)
)

func findNetplan(_ fs.FS, _, body string) []string {
	var values []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, m := range netplanMAC.FindAllStringSubmatch(line, -1) {
			values = append(values, strings.ToLower(m[1]))
		}
	}
	return values
}

// fixNetplan takes the MACs out of a netplan file, line by line, so that comments
// and order stay. A match that has no other condition becomes one of all cards
// whose name begins with e: Ethernet, by any naming scheme.
func fixNetplan(_ fs.FS, _, body string) (string, error) {
	all := strings.SplitAfter(body, "\n")
	var out strings.Builder
	for i, line := range all {
		if strings.HasPrefix(strings.TrimSpace(line), "#") || !netplanMAC.MatchString(line) {
			out.WriteString(line)
			continue
		}
		key := netplanKey.FindStringSubmatch(line)
		switch {
		case key == nil || key[2] != "macaddress":
			out.WriteString(fixFlow(line, key))
		case inMatchAlone(all, i):
			out.WriteString(key[1] + "name: \"e*\"\n")
		}
	}
	return out.String(), nil
}

// fixFlow takes a MAC out of a line such as "match: {macaddress: x, name: y}".
func fixFlow(line string, key []string) string {
	bare := netplanFlow.ReplaceAllStringFunc(line, func(s string) string {
		if strings.HasPrefix(s, ",") && strings.HasSuffix(strings.TrimSpace(s), ",") {
			return ","
		}
		return ""
	})
	if key != nil && key[2] == "match" && netplanNone.MatchString(bare) {
		return netplanMAC.ReplaceAllString(line, `name: "e*"`)
	}
	return bare
}

// inMatchAlone reports whether line i of a netplan file, a macaddress, is the only
// condition in a block "match:".
func inMatchAlone(all []string, i int) bool {
	indent := func(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }
	blank := func(s string) bool {
		t := strings.TrimSpace(s)
		return t == "" || t[0] == '#'
	}
	depth := indent(all[i])
	parent := -1
	for j := i - 1; j >= 0 && parent < 0; j-- {
		if blank(all[j]) {
			continue
		}
		if indent(all[j]) == depth {
			return false
		}
		if indent(all[j]) < depth {
			parent = j
		}
	}
	if parent < 0 {
		return false
	}
	key := netplanKey.FindStringSubmatch(strings.TrimRight(all[parent], "\n"))
	if key == nil || key[2] != "match" {
		return false
	}
	for _, next := range all[i+1:] {
		if !blank(next) {
			return indent(next) < depth
		}
	}
	return true
}

var (
	netplanList    = regexp.MustCompile(`["']?([0-9a-fA-F.:]+/[0-9]{1,3})["']?`)
	netplanDynamic = regexp.MustCompile(`^(?:dhcp4|gateway4|gateway6)$`)
	// A device in flow style. It is found and not mended: to erase it is an error.
	netplanFlowAddress = regexp.MustCompile(`\{[^{}]*\baddresses\s*:\s*\[([^\]]*/[^\]]*)\]`)
)

// A netplanBlock is a key of a netplan file with all that is below it.
type netplanBlock struct {
	from, to int // lines
	indent   string
	key      string
	parent   string // the key above
}

// netplanBlocks returns the keys of a netplan file in block style. Flow style on
// one line is a block without lines below it.
func netplanBlocks(all []string) []netplanBlock {
	var blocks []netplanBlock
	var open []int
	for i, line := range all {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		indent := len(line) - len(strings.TrimLeft(line, " "))
		item := strings.HasPrefix(trimmed, "-")
		for len(open) > 0 {
			top := len(blocks[open[len(open)-1]].indent)
			if indent > top || (indent == top && item) { // a list may stand at its key's own depth
				break
			}
			open = open[:len(open)-1]
		}
		for _, j := range open {
			blocks[j].to = i + 1
		}
		m := netplanKey.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil || item {
			continue
		}
		b := netplanBlock{from: i, to: i + 1, indent: m[1], key: m[2]}
		if len(open) > 0 {
			b.parent = blocks[open[len(open)-1]].key
		}
		blocks = append(blocks, b)
		open = append(open, len(blocks)-1)
	}
	return blocks
}

// findNetplanAddress returns the addresses of devices: those of name servers are
// nobody's own.
func findNetplanAddress(_ fs.FS, _, body string) []string {
	all := strings.SplitAfter(body, "\n")
	var found []string
	for _, b := range netplanBlocks(all) {
		if b.key != "addresses" || b.parent == "nameservers" {
			continue
		}
		for _, m := range netplanList.FindAllStringSubmatch(strings.Join(all[b.from:b.to], ""), -1) {
			if a := own(m[1]); a != "" {
				found = append(found, a)
			}
		}
	}
	for _, flow := range netplanFlowAddress.FindAllStringSubmatch(body, -1) {
		for _, m := range netplanList.FindAllStringSubmatch(flow[1], -1) {
			found = append(found, own(m[1]))
		}
	}
	return found
}

// fixNetplanAddress puts "dhcp4: true" into the place of a device's addresses, and
// takes out its gateways.
func fixNetplanAddress(_ fs.FS, _, body string) (string, error) {
	all := strings.SplitAfter(body, "\n")
	blocks := netplanBlocks(all)
	static := map[string]bool{}
	for _, b := range blocks {
		if b.key == "addresses" && b.parent != "nameservers" {
			static[b.parent] = true
		}
	}
	for _, b := range blocks {
		put := ""
		switch {
		case !static[b.parent]:
			continue
		case b.key == "addresses":
			put = b.indent + "dhcp4: true\n"
		case !netplanDynamic.MatchString(b.key) && !(b.key == "routes" && strings.Contains(strings.Join(all[b.from:b.to], ""), "default")):
			continue
		}
		clear(all[b.from:b.to])
		all[b.from] = put
	}
	return strings.Join(all, ""), nil
}
