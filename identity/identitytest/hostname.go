package identitytest

func hostnamePlants() map[string]Plant {
	return map[string]Plant{
		"hosts": {
			Files: map[string]string{"etc/hosts": "127.0.0.1 localhost\n127.0.1.1 PLANTED.example.com PLANTED\n10.0.0.6 web10 db\n::1 localhost ip6-loopback\n"},
			After: map[string]string{"etc/hosts": "127.0.0.1 localhost\n10.0.0.6 web10 db\n::1 localhost ip6-loopback\n"},
		},
		"mailname": {map[string]string{"etc/mailname": "PLANTED.example.com\n"}, map[string]string{"etc/mailname": "localhost\n"}},
		"hostname": edited("etc/hostname", "# PLANTED\n\ngolden\n", "localhost\n").and(edited("etc/HOSTNAME", "PLANTED.example.com\n", "localhost\n")),
		"hostid":   {map[string]string{"etc/hostid": "PLANTED\x00\xff"}, map[string]string{"etc/hostid": None}},
		"postfix-myhostname": edited("etc/postfix/main.cf", "myhostname = golden.example.com # PLANTED\nmydestination = $myhostname, localhost\nmyhostname = mail.example.com\n",
			"mydestination = $myhostname, localhost\nmyhostname = mail.example.com\n").beside("etc/hostname", "=golden\n"),
		"pretty-hostname": edited("etc/machine-info", "PRETTY_HOSTNAME=\"PLANTED's machine\"\nICON_NAME=computer\n", "ICON_NAME=computer\n"),
	}
}
