package identity

import (
	"io/fs"
	"regexp"
	"strings"
)

func clockMarks() []Mark {
	return []Mark{
		{
			Name: "adjtime", Kind: Residue, Default: true, Where: "any",
			Why:         "how much the master's hardware clock drifts, and when it was set, is applied to the clone's",
			Source:      "man 8 hwclock",
			Paths:       []string{"etc/adjtime"},
			Regenerates: "hwclock. Whether the clock runs in UTC or local time stays",
			way:         edit{find: findDrift, fix: dropDrift},
		},
		{
			Name: "clock-drift", Kind: Residue, Default: true, Where: "any",
			Why:    "the drift of the master's clock is applied to the clone's until it is measured anew",
			Source: "man 5 chrony.conf (driftfile); man 5 ntp.conf",
			Paths: []string{
				"var/lib/chrony/drift", "var/lib/chrony/chrony.drift", "var/lib/ntp/ntp.drift", "var/lib/ntp/drift", "var/lib/ntpsec/ntp.drift",
				"var/db/ntpd.drift",
			},
			Regenerates: "chronyd, ntpd",
			way:         remove{},
		},
	}
}

// noDrift are the first two lines of an adjtime that says nothing.
const noDrift = "0.0 0 0.0\n0\n"

var drift = regexp.MustCompile(`^[-+0.\s]*$`)

// findDrift reports an adjtime whose first two lines have any number but 0.
func findDrift(_ fs.FS, _, body string) []string {
	first, rest, _ := strings.Cut(body, "\n")
	second, _, _ := strings.Cut(rest, "\n")
	first, second = strings.TrimSpace(first), strings.TrimSpace(second)
	if drift.MatchString(first) && drift.MatchString(second) {
		return nil
	}
	return []string{strings.TrimSpace(first + " " + second)}
}

func dropDrift(_ fs.FS, _, body string) (string, error) {
	if strings.Contains(body, "LOCAL") {
		return noDrift + "LOCAL\n", nil
	}
	return noDrift + "UTC\n", nil
}
