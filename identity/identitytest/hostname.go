package identitytest

func hostnamePlants() map[string]Plant {
	return map[string]Plant{
		"hosts": {
			Files: map[string]string{"etc/hosts": "127.0.0.1 localhost\n127.0.1.1 PLANTED.example.com PLANTED\n10.0.0.6 web10 db\n::1 localhost ip6-loopback\n"},
			After: map[string]string{"etc/hosts": "127.0.0.1 localhost\n10.0.0.6 web10 db\n::1 localhost ip6-loopback\n"},
		},
		"mailname": {map[string]string{"etc/mailname": "PLANTED.example.com\n"}, map[string]string{"etc/mailname": "localhost\n"}},
		"hostname": {map[string]string{"etc/hostname": "# its name\n\nPLANTED\n"}, map[string]string{"etc/hostname": "localhost\n"}},
		"hostid":   {map[string]string{"etc/hostid": "PLANTED\x00\xff"}, map[string]string{"etc/hostid": None}},
	}
}
