package identity

import "io/fs"

// installerMarks come before those of cloud-init: what an installer left behind
// can keep cloud-init from doing anything at all in a clone.
func installerMarks() []Mark {
	return []Mark{
		{
			Name: "ubuntu-installer", Kind: Secret, Default: true, Where: "Ubuntu (server and desktop since 20.04)",
			Why: "cloud-init obeys the installer's answers (one instance-id, one password) and then switches itself off: " +
				"a clone ignores its own seed",
			Source: "https://github.com/canonical/subiquity/blob/main/subiquity/models/subiquity.py; https://github.com/canonical/subiquity/blob/main/subiquity/models/network.py",
			Paths: []string{
				"etc/cloud/cloud-init.disabled", "etc/cloud/ds-identify.cfg", "etc/cloud/cloud.cfg.d/*subiquity-disable-cloudinit-networking.cfg",
				"etc/cloud/cloud.cfg.d/90-installer-network.cfg", "etc/netplan/00-installer-config*.yaml", "etc/netplan/50-cloud-init.yaml",
				"etc/cloud/cloud.cfg.d/20-disable-cc-dpkg-grub.cfg", "etc/cloud/cloud.cfg.d/99-installer.cfg",
			},
			Regenerates: "cloud-init, from each clone's own seed. These are the files that /etc/cloud/clean.d/99-installer removes",
			way:         when{holds: installedBySubiquity, way: remove{value: having("instance-id")}},
		},
		{
			Name: "installer-answers", Kind: Residue, Default: true, Where: "Fedora, RHEL; SUSE",
			Why:    "the answers to the installer hold the hash of root's password, the network and the licence",
			Source: "man 1 virt-sysprep (logfiles); https://github.com/yast/yast-autoinstallation/blob/master/README.md; https://documentation.suse.com/sles/15-SP6/html/SLES-all/book-autoyast.html",
			Paths: []string{
				"root/anaconda-ks.cfg", "root/original-ks.cfg", "root/initial-setup-ks.cfg", "root/anaconda-post.log", "root/install.log*",
				"root/autoinst.xml", "var/adm/autoinstall/cache/*",
			},
			Regenerates: "nothing",
			way:         remove{},
		},
		{
			Name: "debconf-passwords", Kind: Residue, Default: true, Where: "Debian, Ubuntu",
			Why:         "the passwords that packages asked for, or made up, when the master was installed",
			Source:      "https://salsa.debian.org/pkg-debconf/debconf/-/blob/master/debconf.conf (passwords); man 5 debconf.conf",
			Paths:       []string{"var/cache/debconf/passwords.dat", "var/cache/debconf/passwords.dat-old"},
			Regenerates: "debconf, when a package asks again",
			way:         empty{},
		},
	}
}

// installedBySubiquity asks for the file that is removed last, so that a work that
// was broken off is found.
func installedBySubiquity(fsys fs.FS) bool {
	return exists(fsys, "etc/cloud/cloud.cfg.d/99-installer.cfg") && exists(fsys, "usr/bin/cloud-init")
}
