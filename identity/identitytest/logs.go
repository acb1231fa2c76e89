package identitytest

func logPlants() map[string]Plant {
	return map[string]Plant{
		"journal": gone("run/log/journal/x/system.journal").and(Plant{
			Files: map[string]string{"var/log/journal/" + MachineID + "/system.journal": Planted},
			After: map[string]string{"var/log/journal": "d---------", "var/log/journal/" + MachineID: None},
		}),
		"login-records": emptied("var/log/wtmp", "var/log/btmp", "var/log/btmp.1", "var/log/lastlog", "var/log/faillog", "var/log/tallylog", "var/lib/wtmpdb/wtmp.db",
			"var/lib/lastlog/lastlog2.db", "run/utmp", "var/run/utmp"),
		"logs": {
			Files: map[string]string{
				"var/log/syslog": Planted, "var/log/syslog.1": Planted, "var/log/apt/history.log": Planted, "var/log/x.gz": Planted,
				"var/log/pipe": "|", "var/log/up": "->../../srv/kept", "srv/kept": "kept",
			},
			After: map[string]string{
				"var/log/syslog": "", "var/log/syslog.1": None, "var/log/apt/history.log": "", "var/log/x.gz": None,
				"var/log/up": "->../../srv/kept", "srv/kept": "kept",
			},
		},
		"process-accounting": emptied("var/account/pacct", "var/account/savacct", "var/account/usracct", "var/log/account/pacct", "var/log/account/savacct", "var/log/account/usracct"),
		"logrotate-state": gone(
			"var/lib/logrotate/status", "var/lib/logrotate/logrotate.status", "var/lib/logrotate.status", "var/lib/misc/logrotate.status",
		),
	}
}
