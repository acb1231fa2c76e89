package identity

// packageMarks: what package managers can get again. It is long because it is a
// table.
func packageMarks() []Mark {
	const why = "packages that are installed already make every full clone larger"
	return []Mark{
		{
			Name: "apt-cache", Kind: Residue, Default: true, Where: "Debian, Ubuntu",
			Why: why, Source: "man 8 apt-get (clean)", Regenerates: "apt",
			Paths: []string{"var/cache/apt/archives/*.deb", "var/cache/apt/archives/partial/*", "var/cache/apt/*.bin"},
			way:   remove{},
		},
		{
			// Off: the lists are stale in a clone but do no harm, and without them the
			// first "apt-get install" of each clone fails until "apt-get update".
			Name: "apt-lists", Kind: Residue, Default: false, Where: "Debian, Ubuntu",
			Why:         "lists of packages grow old in a template, and make every full clone larger",
			Source:      "man 8 apt-get (update)",
			Paths:       []string{"var/lib/apt/lists/*_*", "var/lib/apt/lists/partial/*", "var/lib/apt/lists/auxfiles/*"},
			Regenerates: "apt-get update",
			way:         remove{},
		},
		{
			Name: "dnf-cache", Kind: Residue, Default: true, Where: "Fedora, RHEL",
			Why: why, Source: "man 8 dnf (clean)", Regenerates: "dnf, yum",
			Paths: []string{"var/cache/dnf/*", "var/cache/libdnf5/*", "var/cache/yum/*"},
			way:   remove{},
		},
		{
			Name: "rpm-locks", Kind: Residue, Default: true, Where: "RHEL to 8, SUSE to 15.2",
			Why:         "state of the database's environment on the master",
			Source:      "man 1 virt-sysprep (rpm-db)",
			Paths:       []string{"var/lib/rpm/__db.*", "usr/lib/sysimage/rpm/__db.*"},
			Regenerates: "rpm",
			way:         remove{},
		},
		{
			Name: "zypp-cache", Kind: Residue, Default: true, Where: "SUSE",
			Why: why, Source: "man 8 zypper (clean)", Regenerates: "zypper",
			Paths: []string{"var/cache/zypp/packages/*", "var/cache/zypp/raw/*", "var/cache/zypp/solv/*"},
			way:   remove{},
		},
		{
			Name: "pacman-cache", Kind: Residue, Default: true, Where: "Arch",
			Why: why, Source: "man 8 pacman (--clean)", Regenerates: "pacman",
			Paths: []string{"var/cache/pacman/pkg/*"},
			way:   remove{},
		},
		{
			Name: "pacman-keyring", Kind: Secret, Default: true, Where: "Arch",
			Why:         "who has one twin's master key can sign packages that all of them trust",
			Source:      "https://wiki.archlinux.org/title/Pacman/Package_signing; man 8 pacman-key",
			Paths:       []string{"etc/pacman.d/gnupg/private-keys-v1.d/*", "etc/pacman.d/gnupg/*"},
			Regenerates: "clade-firstboot.service, or pacman-init.service of Arch's own images",
			way:         remove{value: having("private-key")},
			Firstboot: Piece{
				Needs:   []string{"usr/bin/pacman-key", "etc/pacman.d"},
				Missing: "/etc/pacman.d/gnupg/pubring.*",
				Command: "{ /usr/bin/pacman-key --init && /usr/bin/pacman-key --populate; }",
			},
		},
		{
			Name: "apk-cache", Kind: Residue, Default: true, Where: "Alpine",
			Why: why, Source: "https://github.com/alpinelinux/apk-tools/blob/master/doc/apk-cache.5.scd", Regenerates: "apk",
			Paths: []string{"var/cache/apk/*"},
			way:   remove{},
		},
		{
			Name: "snap-cache", Kind: Residue, Default: true, Where: "any with snapd",
			Why: why, Source: "https://github.com/canonical/snapd/blob/master/dirs/dirs.go (SnapDownloadCacheDir)", Regenerates: "snapd",
			Paths: []string{"var/lib/snapd/cache/*"},
			way:   remove{},
		},
		{
			Name: "packagekit-cache", Kind: Residue, Default: true, Where: "any",
			Why: why, Source: "https://github.com/PackageKit/PackageKit/blob/main/docs/api/spec/pk-concepts.xml (DownloadPackages)", Regenerates: "packagekitd",
			Paths: []string{"var/cache/PackageKit/*"},
			way:   remove{},
		},
	}
}
