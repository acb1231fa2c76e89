package identity

// randomMarks: twins that start from one seed make the same "random" keys. It is
// long because it is a table.
func randomMarks() []Mark {
	return []Mark{
		{
			Name: "random-seed", Kind: Secret, Default: true, Where: "any",
			Why:    "twins that start from one seed may draw the same random numbers, and so the same keys",
			Source: "man 8 systemd-random-seed.service; https://systemd.io/BUILDING_IMAGES/",
			Paths: []string{
				"var/lib/systemd/random-seed", "var/lib/urandom/random-seed", "var/lib/misc/random-seed", "var/lib/random-seed",
				"var/lib/seedrng/seed.*", "etc/random-seed",
			},
			Regenerates: "systemd-random-seed, urandom or seedrng, at shutdown and boot",
			way:         remove{},
		},
		{
			Name: "loader-random-seed", Kind: Secret, Default: true, Where: "any",
			Why:         "the boot loader hands one seed to every clone, which the kernel then trusts",
			Source:      "man 7 systemd-boot; https://systemd.io/BUILDING_IMAGES/",
			Paths:       []string{"boot/efi/loader/random-seed", "boot/loader/random-seed", "efi/loader/random-seed"},
			Regenerates: "systemd-boot-random-seed.service",
			way:         remove{},
		},
		{
			Name: "credential-secret", Kind: Secret, Default: true, Where: "any",
			Why:         "credentials encrypted on one twin can be read on every other",
			Source:      "man 1 systemd-creds; https://systemd.io/BUILDING_IMAGES/",
			Paths:       []string{"var/lib/systemd/credential.secret"},
			Regenerates: "systemd-creds, when first asked; credentials encrypted with the old one are lost",
			way:         remove{},
		},
		{
			Name: "tpm2-srk", Kind: Conflict, Default: true, Where: "any, with systemd 255 and later",
			Why:         "a clone has another TPM: systemd refuses keys that do not fit it",
			Source:      "man 8 systemd-tpm2-setup.service",
			Paths:       []string{"var/lib/systemd/tpm2-srk-public-key.*"},
			Regenerates: "systemd-tpm2-setup.service",
			way:         remove{value: fingerprint},
		},
		{
			// Off: home areas are signed with it, and cannot be opened without.
			Name: "homed-key", Kind: Secret, Default: false, Where: "any, with systemd-homed",
			Why:         "who has one twin's key can sign accounts for all of them",
			Source:      "man 8 systemd-homed.service",
			Paths:       []string{"var/lib/systemd/home/local.private"},
			Regenerates: "systemd-homed",
			way:         remove{},
		},
		{
			Name: "openssl-rnd", Kind: Secret, Default: true, Where: "any",
			Why:         "seeds OpenSSL's random numbers, where it is old: twins start from one",
			Source:      "man 3 RAND_load_file",
			Paths:       []string{"~/.rnd"},
			Regenerates: "openssl",
			way:         remove{},
		},
		{
			Name: "fwupd-key", Kind: Secret, Default: true, Where: "any",
			Why:         "reports of firmware are signed with it: twins cannot be told apart",
			Source:      "https://github.com/hughsie/libjcat/blob/main/libjcat/jcat-gnutls-pkcs7-engine.c; https://github.com/hughsie/libjcat/blob/main/libjcat/jcat-gnutls-ed25519-engine.c",
			Paths:       []string{"var/lib/fwupd/pki/secret.key", "var/lib/fwupd/pki/client.pem", "var/lib/fwupd/pki/secret.ed25519", "var/lib/fwupd/pki/public.ed25519"},
			Regenerates: "fwupd",
			way:         remove{value: privateKey},
		},
	}
}
