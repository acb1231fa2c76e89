package identitytest

func tlsPlants() map[string]Plant {
	return map[string]Plant{
		"cockpit-certificate": gone("etc/cockpit/ws-certs.d/0-self-signed.cert", "etc/cockpit/ws-certs.d/0-self-signed.key"),
		"httpd-localhost-key": gone("etc/pki/tls/private/localhost.key", "etc/pki/tls/certs/localhost.crt").beside("usr/libexec/httpd-ssl-gencerts", "=x"),
		"snakeoil": {
			Files: map[string]string{"etc/ssl/private/ssl-cert-snakeoil.key": Planted, "etc/ssl/certs/ssl-cert-snakeoil.pem": Planted, "etc/ssl/certs/ca.pem": "kept"},
			After: map[string]string{"etc/ssl/private/ssl-cert-snakeoil.key": None, "etc/ssl/certs/ca.pem": "kept"},
		},
	}
}
