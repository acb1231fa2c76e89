package identitytest

func clockPlants() map[string]Plant {
	return map[string]Plant{
		"adjtime": edited("etc/adjtime", "0.0 PLANTED 0.0\n1700000000\nLOCAL\n", "0.0 0 0.0\n0\nLOCAL\n"),
		"clock-drift": gone(
			"var/lib/chrony/drift", "var/lib/chrony/chrony.drift", "var/lib/ntp/ntp.drift", "var/lib/ntp/drift", "var/lib/ntpsec/ntp.drift",
			"var/db/ntpd.drift",
		),
	}
}
