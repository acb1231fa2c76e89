package identitytest

func accountPlants() map[string]Plant {
	return map[string]Plant{
		"passwd-backups": gone(
			"etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-", "etc/subuid-", "etc/subgid-", "etc/passwd.OLD", "var/backups/passwd.bak",
			"var/backups/shadow.bak", "var/backups/group.bak", "var/backups/gshadow.bak",
		),
		"password-history": emptied("etc/security/opasswd", "etc/security/opasswd.old"),
		"fingerprints":     gone("var/lib/fprint/x"),
		"accounts-service": gone("var/lib/AccountsService/users/x", "var/lib/AccountsService/icons/x"),
	}
}
