package identitytest

func spoolPlants() map[string]Plant {
	return map[string]Plant{
		"mail-queue": gone(
			"var/spool/postfix/active/x", "var/spool/postfix/deferred/x", "var/spool/postfix/incoming/x", "var/spool/postfix/maildrop/x",
			"var/spool/postfix/hold/x", "var/spool/postfix/corrupt/x", "var/spool/postfix/defer/x", "var/spool/exim4/input/x", "var/spool/exim4/msglog/x",
			"var/spool/exim/input/x", "var/spool/exim/msglog/x", "var/spool/mqueue/x", "var/spool/clientmqueue/x", "var/spool/nullmailer/queue/x",
			"var/spool/msmtpd/x",
		),
		"print-jobs": gone("var/spool/cups/c00001", "var/spool/cups/tmp/x", "var/cache/cups/job.cache", "var/spool/lpd/x/x"),
		"mail-spool": {
			Files: map[string]string{"var/mail/root": Planted, "var/spool/mail": "->../mail"},
			After: map[string]string{"var/mail/root": None, "var/mail": "d---------", "var/spool/mail": "->../mail"},
		},
		"crash-dumps": gone("var/crash/x", "var/lib/systemd/coredump/core.x", "var/lib/systemd/pstore/dmesg", "var/spool/abrt/ccpp-1/coredump",
			"var/spool/abrt-upload/x", "var/tmp/abrt/x", "var/lib/apport/coredump/core.x").beside("var/lib/kdump/initrd", "kept"),
		"at-jobs": gone("var/spool/cron/atjobs/a0000101a", "var/spool/cron/atspool/a0000101a", "var/spool/at/a0000101a", "var/spool/at/spool/a0000101a",
			"var/spool/atjobs/=0000101a", "var/spool/atspool/a0000101a").beside("var/spool/cron/atjobs/.SEQ", "kept"),
		"cron-tables": gone("var/spool/cron/crontabs/root", "var/spool/cron/tabs/root", "var/spool/cron/root"),
	}
}
