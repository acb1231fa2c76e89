package identity

import "io/fs"

func tlsMarks() []Mark {
	return []Mark{
		{
			Name: "snakeoil", Kind: Secret, Default: true, Where: "any",
			Why:         "the self-signed key that mail and web servers start with is the same on every clone, and has the master's name",
			Source:      "man 8 make-ssl-cert; https://salsa.debian.org/apache-team/ssl-cert/-/blob/master/debian/postinst",
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
		{
			// The condition is the program that makes it anew before Apache starts: where it
			// is not there, Apache would not start.
			Name: "httpd-localhost-key", Kind: Secret, Default: true, Where: "Fedora, RHEL since 8",
			Why:         "the self-signed key of Apache's mod_ssl is the same on every clone",
			Source:      "https://src.fedoraproject.org/rpms/httpd",
			Paths:       []string{"etc/pki/tls/private/localhost.key", "etc/pki/tls/certs/localhost.crt"},
			Regenerates: "httpd-init.service",
			way:         when{holds: hasGencerts, way: remove{}},
		},
		{
			Name: "cockpit-certificate", Kind: Secret, Default: true, Where: "any",
			Why:         "the self-signed key of Cockpit is the same on every clone",
			Source:      "https://github.com/cockpit-project/cockpit/blob/main/src/tls/cockpit-certificate-helper.in; man 8 cockpit-tls",
			Paths:       []string{"etc/cockpit/ws-certs.d/0-self-signed*"},
			Regenerates: "cockpit",
			way:         remove{},
		},
	}
}

func hasGencerts(fsys fs.FS) bool { return exists(fsys, "usr/libexec/httpd-ssl-gencerts") }
