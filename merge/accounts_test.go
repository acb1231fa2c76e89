package merge

import (
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

// TestAccounts: accounts that both sides made are merged by their names.
func TestAccounts(t *testing.T) {
	base := map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\nold:x:500:500::/:/bin/sh\n",
		"etc/group":  "root:x:0:\nsudo:x:27:old\nold:x:500:\n",
		"etc/shadow": "root:*:1:0:99999:7:::\nold:!:1:0:99999:7:::\n",
		"etc/hosts":  "127.0.0.1 localhost\n",
	}
	with := func(more map[string]string) map[string]string {
		all := map[string]string{}
		for name, text := range base {
			all[name] = text
			if change, ok := more[name]; ok {
				all[name] = change
			}
		}
		return all
	}
	b := files(t, base)
	c := files(t, with(map[string]string{
		"etc/passwd": base["etc/passwd"] + "debian:x:1000:1000::/home/debian:/bin/bash\npupil:x:1001:1001::/home/pupil:/bin/sh\n",
		"etc/group":  "root:x:0:\nsudo:x:27:pupil\nold:x:500:\ndebian:x:1000:\npupil:x:1001:\n",
		"etc/shadow": base["etc/shadow"] + "debian:!:300:0:99999:7:::\npupil:$y$secret:300:0:99999:7:::\n",
		"etc/hosts":  "127.0.0.1 localhost\n127.0.1.1 web-1\n",
	}))
	news := map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndebian:x:1000:1000::/home/debian:/bin/bash\ndaemon2:x:999:999::/:/sbin/nologin\n",
		"etc/group":  "root:x:0:\nsudo:x:27:old,debian\ndebian:x:1000:\ndaemon2:x:999:\n",
		"etc/shadow": "root:*:1:0:99999:7:::\ndebian:!:200:0:99999:7:::\ndaemon2:!:200::::::\n",
		"etc/hosts":  "127.0.0.1 localhost\n10.0.0.9 mirror\n",
	}
	n := files(t, with(news))
	p := compare(t, b, c, n, Options{})
	if p.Report.Conflict != 0 || p.Report.Settle != 4 || p.Report.Settled[0].Side != clade.BothSides {
		t.Fatalf("conflicts %+v, settled %+v", p.Report.Conflicts, p.Report.Settled)
	}
	carry(t, p, c, n)
	holds(t, n, "etc/passwd", news["etc/passwd"]+"pupil:x:1001:1001::/home/pupil:/bin/sh\n")
	holds(t, n, "etc/group", "root:x:0:\nsudo:x:27:debian,pupil\ndebian:x:1000:\ndaemon2:x:999:\npupil:x:1001:\n")
	holds(t, n, "etc/shadow", "root:*:1:0:99999:7:::\ndebian:!:300:0:99999:7:::\ndaemon2:!:200::::::\npupil:$y$secret:300:0:99999:7:::\n")
	holds(t, n, "etc/hosts", "127.0.0.1 localhost\n10.0.0.9 mirror\n127.0.1.1 web-1\n")
	for why, other := range map[string]map[string]string{
		"the same number":       {"etc/passwd": strings.Replace(news["etc/passwd"], "999", "1001", 1)},
		"both sides changed it": {"etc/shadow": strings.Replace(news["etc/shadow"], "debian:!", "debian:$y$other", 1)},
		"no plain record":       {"etc/group": news["etc/group"] + "+::0:\n"},
	} {
		changed := with(news)
		for name, text := range other {
			changed[name] = text
		}
		p := compare(t, b, c, files(t, changed), Options{})
		if p.Report.Conflict != 3 || !strings.Contains(p.Report.Conflicts[0].Why, why) {
			t.Errorf("%s: conflicts %+v", why, p.Report.Conflicts)
		}
	}
}
