package identity

func accountMarks() []Mark {
	return []Mark{
		{
			Name: "passwd-backups", Kind: Residue, Default: true, Where: "any",
			Why:    "hashes of passwords that have been changed, of users that have been removed",
			Source: "man 5 shadow (FILES); man 1 virt-sysprep (passwd-backups)",
			Paths: []string{
				"etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-", "etc/subuid-", "etc/subgid-", "etc/passwd.OLD", "var/backups/passwd.bak",
				"var/backups/shadow.bak", "var/backups/group.bak", "var/backups/gshadow.bak",
			},
			Regenerates: "the programs, at the next change",
			way:         remove{},
		},
		{
			Name: "password-history", Kind: Residue, Default: true, Where: "any",
			Why:         "hashes of the users' old passwords",
			Source:      "man 8 pam_pwhistory",
			Paths:       []string{"etc/security/opasswd", "etc/security/opasswd.old"},
			Regenerates: "PAM, at the next change",
			way:         empty{},
		},
		{
			Name: "fingerprints", Kind: Residue, Default: true, Where: "any",
			Why:         "the fingers of the master's users open every clone",
			Source:      "man 1 fprintd; man 1 virt-sysprep (logfiles)",
			Paths:       []string{"var/lib/fprint/*"},
			Regenerates: "fprintd-enroll",
			way:         remove{},
		},
		{
			// Off: a user's language, session and picture are what a golden master is for.
			Name: "accounts-service", Kind: Residue, Default: false, Where: "any",
			Why:         "which users have logged in to the master's desktop, and their pictures",
			Source:      "https://www.freedesktop.org/wiki/Software/AccountsService/; man 1 virt-sysprep (logfiles)",
			Paths:       []string{"var/lib/AccountsService/users/*", "var/lib/AccountsService/icons/*"},
			Regenerates: "accounts-daemon",
			way:         remove{},
		},
	}
}
