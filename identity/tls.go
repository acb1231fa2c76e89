package identity

func tlsMarks() []Mark {
	return []Mark{
		{
			Name: "snakeoil", Family: "tls", Kind: Secret, Default: true,
			Why:         "the self-signed key that mail and web servers start with is the same on every clone, and has the master's name",
			Source:      "man 8 make-ssl-cert",
			Paths:       []string{"etc/ssl/private/ssl-cert-snakeoil.key", "etc/ssl/certs/ssl-cert-snakeoil.pem"},
			Regenerates: "clade-firstboot.service: the package makes it at installation only",
			way:         remove{},
			Firstboot: Piece{
				Needs:   []string{"usr/sbin/make-ssl-cert"},
				Missing: "/etc/ssl/private/ssl-cert-snakeoil.key",
				Command: "/usr/sbin/make-ssl-cert generate-default-snakeoil --force-overwrite",
				Before:  []string{"postfix.service", "apache2.service", "nginx.service", "dovecot.service", "exim4.service", "postgresql.service"},
			},
		},
	}
}
