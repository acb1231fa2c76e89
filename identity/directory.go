package identity

import "io/fs"

// directoryMarks: a member of a domain is known by a secret that it shares with
// the domain's controller, and changes from time to time. Of twins the first to
// change it locks out the others.
func directoryMarks() []Mark {
	return []Mark{
		{
			Name: "kerberos-keytab", Kind: Secret, Default: true, Where: "any",
			Why:         "who has one twin's keys is all of them to the domain; the first that renews them locks out the rest",
			Source:      "https://github.com/krb5/krb5/blob/master/doc/basic/keytab_def.rst; https://github.com/krb5/krb5/blob/master/doc/mitK5defaults.rst",
			Paths:       []string{"etc/krb5.keytab", "var/lib/sss/keytabs/*"},
			Regenerates: "nothing: joining the domain again (realm join, ipa-client-install, net ads join)",
			way:         remove{},
		},
		{
			// Off: it is the database of a Kerberos server, with all its principals.
			Name: "kerberos-kdc", Kind: Secret, Default: false, Where: "any",
			Why:    "two servers of one realm that do not know of each other drift apart",
			Source: "man 5 kdc.conf (database_name, key_stash_file); man 1 virt-sysprep (kerberos-data)",
			Paths: []string{
				"var/kerberos/krb5kdc/principal*", "var/kerberos/krb5kdc/.k5.*", "var/lib/krb5kdc/principal*", "etc/krb5kdc/stash",
			},
			Regenerates: "nothing: kdb5_util create",
			way:         remove{},
		},
		{
			// A server of FreeIPA has the same file, and does not start without.
			Name: "ipa-client", Kind: Residue, Default: true, Where: "any, but servers of FreeIPA",
			Why:    "a clone takes itself for enrolled in FreeIPA, and cannot be enrolled",
			Source: "man 1 ipa-client-install; man 1 virt-sysprep (ipa-client)",
			Paths: []string{
				"etc/ipa/ca.crt", "etc/ipa/default.conf", "var/lib/ipa-client/sysrestore/*", "var/lib/ipa-client/pki/*",
				"etc/pki/ca-trust/source/anchors/ipa-ca.crt", "etc/pki/ca-trust/source/ipa.p11-kit", "usr/local/share/ca-certificates/ipa-ca.crt",
			},
			Regenerates: "ipa-client-install",
			way:         when{holds: notIPAServer, way: remove{}},
		},
		{
			// Of a controller the same file is data: its domain cannot live without.
			Name: "samba-secrets", Kind: Secret, Default: true, Where: "any, but domain controllers",
			Why:         "the machine's password in the domain and its SID: as the Kerberos keytab, and local users of twins are the same users",
			Source:      "https://wiki.samba.org/index.php/TDB_Locations",
			Paths:       []string{"var/lib/samba/private/secrets.tdb", "var/lib/samba/private/secrets.ntdb", "etc/samba/secrets.tdb"},
			Regenerates: "smbd makes a new SID; the domain must be joined again (net ads join)",
			way:         when{holds: notController, way: remove{}},
		},
		{
			Name: "samba-cache", Kind: Residue, Default: true, Where: "any",
			Why:    "names, addresses and logins that the master has seen",
			Source: "https://wiki.samba.org/index.php/TDB_Locations",
			Paths: []string{
				"var/cache/samba/*", "var/lib/samba/winbindd_cache.tdb", "var/lib/samba/netsamlogon_cache.tdb", "var/lib/samba/browse.dat",
				"var/lib/samba/wins.dat", "var/lib/samba/wins.tdb", "var/lib/samba/lock/gencache*",
			},
			Regenerates: "smbd, nmbd, winbindd",
			way:         remove{},
		},
		{
			Name: "sssd-cache", Kind: Residue, Default: true, Where: "any",
			Why:         "users of the domain who logged in to the master, with the hashes of their passwords, can log in to every clone",
			Source:      "man 5 sssd.conf (cache_credentials); man 1 virt-sysprep (sssd-db-log); https://github.com/SSSD/sssd/blob/master/src/conf_macros.m4 (mcpath)",
			Paths:       []string{"var/lib/sss/db/*", "var/lib/sss/mc/*"},
			Regenerates: "sssd",
			way:         remove{},
		},
		{
			Name: "sssd-secrets", Kind: Secret, Default: true, Where: "any",
			Why:         "the Kerberos tickets that sssd keeps for users, and in older versions the key that they are encrypted with",
			Source:      "man 8 sssd-kcm; https://github.com/SSSD/sssd/blob/master/src/responder/kcm/secrets/secrets.c",
			Paths:       []string{"var/lib/sss/secrets/.secrets.mkey", "var/lib/sss/secrets/secrets.ldb"},
			Regenerates: "sssd; what was encrypted with it is lost",
			way:         remove{},
		},
	}
}

// notIPAServer reports whether a guest has not been set up as a server of FreeIPA.
func notIPAServer(fsys fs.FS) bool { return !exists(fsys, "var/lib/ipa/sysrestore/sysrestore.state") }

// notController reports whether a guest is no domain controller of Samba's.
func notController(fsys fs.FS) bool { return !exists(fsys, "var/lib/samba/private/sam.ldb") }
