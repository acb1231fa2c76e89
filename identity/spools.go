package identity

func spoolMarks() []Mark {
	return []Mark{
		{
			Name: "mail-queue", Kind: Residue, Default: true, Where: "any",
			Why:    "every clone sends the mail that the master had not sent yet",
			Source: "https://www.postfix.org/QSHAPE_README.html; https://www.postfix.org/OVERVIEW.html; man 8 exim (-Mvh, -Mvb); man 7 hier (/var/spool/mqueue)",
			Paths: []string{
				"var/spool/postfix/active/*", "var/spool/postfix/deferred/*", "var/spool/postfix/incoming/*", "var/spool/postfix/maildrop/*",
				"var/spool/postfix/hold/*", "var/spool/postfix/corrupt/*", "var/spool/postfix/defer/*", "var/spool/exim4/input/*",
				"var/spool/exim4/msglog/*", "var/spool/exim/input/*", "var/spool/exim/msglog/*", "var/spool/mqueue/*", "var/spool/clientmqueue/*",
				"var/spool/nullmailer/queue/*", "var/spool/msmtpd/*",
			},
			Regenerates: "the mail server",
			way:         remove{},
		},
		{
			Name: "mail-spool", Kind: Residue, Default: true, Where: "any",
			Why:         "the mail of the master's users",
			Source:      "man 1 virt-sysprep (mail-spool)",
			Paths:       []string{"var/mail/*", "var/spool/mail/*"},
			Regenerates: "the mail server",
			way:         remove{},
		},
		{
			// atd's own counter has the form 00000\n and stays: .SEQ.
			Name: "at-jobs", Kind: Residue, Default: true, Where: "any",
			Why:    "what was to be done once, on the master, is done on every clone",
			Source: "man 1 at; man 1 virt-sysprep (cron-spool)",
			Paths: []string{
				"var/spool/cron/atjobs/[a-z=]*", "var/spool/cron/atspool/*", "var/spool/at/[a-z=]*", "var/spool/at/spool/*", "var/spool/atjobs/[a-z=]*",
				"var/spool/atspool/*",
			},
			Regenerates: "nothing",
			way:         remove{except: []string{"var/spool/at/spool"}},
		},
		{
			// Off: tables are set up by hand, and may be why there is a master.
			Name: "cron-tables", Kind: Residue, Default: false, Where: "any",
			Why:         "what was to be done again and again on the master is done on every clone, at the same minute",
			Source:      "man 1 crontab; man 1 virt-sysprep (cron-spool)",
			Paths:       []string{"var/spool/cron/crontabs/*", "var/spool/cron/tabs/*", "var/spool/cron/*"},
			Regenerates: "nothing: crontab -e",
			way: remove{except: []string{
				"var/spool/cron/crontabs", "var/spool/cron/tabs", "var/spool/cron/atjobs", "var/spool/cron/atspool", "var/spool/cron/lastrun",
			}},
		},
		{
			Name: "print-jobs", Kind: Residue, Default: true, Where: "any",
			Why:         "documents that the master printed, or was to print",
			Source:      "man 5 cups-files.conf (RequestRoot, TempDir)",
			Paths:       []string{"var/spool/cups/[cd][0-9]*", "var/spool/cups/tmp/*", "var/cache/cups/job.cache*", "var/spool/lpd/*/*"},
			Regenerates: "cupsd",
			way:         remove{},
		},
		{
			Name: "crash-dumps", Kind: Residue, Default: true, Where: "any",
			Why:    "memory of the master's programs and of its kernel, with the secrets in it",
			Source: "man 8 systemd-coredump; man 5 pstore.conf; man 1 virt-sysprep (abrt-data, crash-data)",
			Paths: []string{
				"var/crash/*", "var/lib/systemd/coredump/*", "var/lib/systemd/pstore/*", "var/spool/abrt/*", "var/spool/abrt-upload/*", "var/tmp/abrt/*",
				"var/lib/apport/coredump/*",
			},
			Regenerates: "nothing",
			way:         remove{},
		},
	}
}
