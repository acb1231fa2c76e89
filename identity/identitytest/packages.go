package identitytest

func packagePlants() map[string]Plant {
	return map[string]Plant{
		"apt-cache":        gone("var/cache/apt/archives/x_1.deb", "var/cache/apt/archives/partial/y_1.deb", "var/cache/apt/pkgcache.bin").beside("var/cache/apt/archives/lock", "kept"),
		"apt-lists":        gone("var/lib/apt/lists/x_dists_y_InRelease", "var/lib/apt/lists/partial/x_y", "var/lib/apt/lists/auxfiles/x_y"),
		"dnf-cache":        gone("var/cache/dnf/x", "var/cache/libdnf5/x", "var/cache/yum/x"),
		"rpm-locks":        gone("var/lib/rpm/__db.001", "usr/lib/sysimage/rpm/__db.001"),
		"zypp-cache":       gone("var/cache/zypp/packages/x", "var/cache/zypp/raw/x", "var/cache/zypp/solv/x"),
		"pacman-cache":     gone("var/cache/pacman/pkg/x"),
		"apk-cache":        gone("var/cache/apk/x"),
		"snap-cache":       gone("var/lib/snapd/cache/x"),
		"packagekit-cache": gone("var/cache/PackageKit/x"),
		"pacman-keyring": gone(
			"etc/pacman.d/gnupg/pubring.gpg",
		).and(of("(private-key PLANTED)", None, []string{"etc/pacman.d/gnupg/private-keys-v1.d/x.key"})),
	}
}
