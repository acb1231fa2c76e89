package identitytest

func logPlants() map[string]Plant {
	return map[string]Plant{
		"journal": {
			Files: map[string]string{"var/log/journal/" + MachineID + "/system.journal": Planted},
			After: map[string]string{"var/log/journal": "d---------", "var/log/journal/" + MachineID: None},
		},
		"login-records": {map[string]string{"var/log/wtmp": Planted, "var/log/btmp.1": Planted, "var/log/lastlog": Planted}, map[string]string{"var/log/wtmp": "", "var/log/lastlog": ""}},
		"logs": {
			Files: map[string]string{"var/log/syslog": Planted, "var/log/syslog.1": Planted, "var/log/apt/history.log": Planted, "var/log/x.gz": Planted, "var/log/pipe": "|", "var/log/up": "->../../srv/kept", "srv/kept": "kept"},
			After: map[string]string{"var/log/syslog": "", "var/log/syslog.1": None, "var/log/apt/history.log": "", "var/log/x.gz": None, "var/log/up": "->../../srv/kept", "srv/kept": "kept"},
		},
	}
}
