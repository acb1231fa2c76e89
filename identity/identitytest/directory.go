package identitytest

func directoryPlants() map[string]Plant {
	return map[string]Plant{
		"kerberos-keytab": gone("etc/krb5.keytab", "var/lib/sss/keytabs/x"),
		"kerberos-kdc":    gone("var/kerberos/krb5kdc/principal", "var/kerberos/krb5kdc/.k5.EXAMPLE.COM", "var/lib/krb5kdc/principal", "etc/krb5kdc/stash"),
		"ipa-client": gone(
			"etc/ipa/ca.crt", "etc/ipa/default.conf", "var/lib/ipa-client/sysrestore/x", "var/lib/ipa-client/pki/x",
			"etc/pki/ca-trust/source/anchors/ipa-ca.crt", "etc/pki/ca-trust/source/ipa.p11-kit", "usr/local/share/ca-certificates/ipa-ca.crt",
		),
		"samba-cache": gone(
			"var/cache/samba/x", "var/lib/samba/winbindd_cache.tdb", "var/lib/samba/netsamlogon_cache.tdb", "var/lib/samba/browse.dat",
			"var/lib/samba/wins.dat", "var/lib/samba/wins.tdb", "var/lib/samba/lock/gencache",
		),
		"sssd-cache":    gone("var/lib/sss/db/x", "var/lib/sss/mc/x"),
		"sssd-secrets":  gone("var/lib/sss/secrets/.secrets.mkey", "var/lib/sss/secrets/secrets.ldb"),
		"samba-secrets": gone("var/lib/samba/private/secrets.tdb", "var/lib/samba/private/secrets.ntdb", "etc/samba/secrets.tdb"),
	}
}
