package identitytest

func randomPlants() map[string]Plant {
	return map[string]Plant{
		"random-seed": gone(
			"var/lib/systemd/random-seed", "var/lib/urandom/random-seed", "var/lib/misc/random-seed", "var/lib/random-seed", "var/lib/seedrng/seed.credit",
			"etc/random-seed",
		),
		"loader-random-seed": gone("boot/efi/loader/random-seed", "boot/loader/random-seed", "efi/loader/random-seed"),
		"credential-secret":  {map[string]string{"var/lib/systemd/credential.secret": Planted}, map[string]string{"var/lib/systemd/credential.secret": None}},
		"tpm2-srk":           gone("var/lib/systemd/tpm2-srk-public-key.pem"),
		"homed-key":          gone("var/lib/systemd/home/local.private"),
		"openssl-rnd":        gone("root/.rnd"),
		"fwupd-key":          keys("var/lib/fwupd/pki/secret.key", "var/lib/fwupd/pki/client.pem", "var/lib/fwupd/pki/secret.ed25519", "var/lib/fwupd/pki/public.ed25519"),
	}
}
