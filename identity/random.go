package identity

// randomMarks: seeds of the kernel's random numbers. Twins that start from one
// seed make the same "random" keys.
func randomMarks() []Mark {
	return []Mark{
		{
			Name: "random-seed", Family: "random", Kind: Secret, Default: true,
			Why:    "twins that start from one seed may draw the same random numbers, and so the same keys",
			Source: "man 8 systemd-random-seed.service; https://systemd.io/BUILDING_IMAGES/",
			Paths: []string{
				"var/lib/systemd/random-seed", "var/lib/urandom/random-seed", "var/lib/misc/random-seed", "var/lib/random-seed",
				"var/lib/seedrng/seed.*",
			},
			Regenerates: "systemd-random-seed, urandom or seedrng, at shutdown and boot",
			way:         remove{},
		},
		{
			Name: "loader-random-seed", Family: "random", Kind: Secret, Default: true,
			Why:         "the boot loader hands one seed to every clone, which the kernel then trusts",
			Source:      "man 7 systemd-boot; https://systemd.io/BUILDING_IMAGES/",
			Paths:       []string{"boot/efi/loader/random-seed", "boot/loader/random-seed", "efi/loader/random-seed"},
			Regenerates: "systemd-boot-random-seed.service",
			way:         remove{},
		},
		{
			Name: "credential-secret", Family: "random", Kind: Secret, Default: true,
			Why:         "credentials encrypted on one twin can be read on every other",
			Source:      "man 1 systemd-creds; https://systemd.io/BUILDING_IMAGES/",
			Paths:       []string{"var/lib/systemd/credential.secret"},
			Regenerates: "systemd-creds, when first asked; credentials encrypted with the old one are lost",
			way:         remove{},
		},
	}
}
