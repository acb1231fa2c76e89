package identity

func credentialMarks() []Mark {
	return []Mark{
		{
			Name: "cloud-credentials", Kind: Secret, Default: false, Where: "any",
			Why:    "who has a clone acts as the master's users in their clouds, clusters and registries",
			Source: "https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html; man 1 curl (--netrc); man 1 git-credential-store",
			Paths: []string{
				"~/.aws/credentials", "~/.aws/sso/cache/*", "~/.config/gcloud/credentials.db", "~/.config/gcloud/application_default_credentials.json",
				"~/.config/gcloud/legacy_credentials/*/*.json", "~/.azure/msal_token_cache.*", "~/.azure/accessTokens.json",
				"~/.config/openstack/clouds.yaml", "~/.kube/config", "~/.docker/config.json", "~/.config/containers/auth.json",
				"~/.netrc", "~/.git-credentials", "~/.config/git/credentials", "~/.config/gh/hosts.yml", "~/.npmrc", "~/.pypirc", "~/.cargo/credentials*",
				"~/.vault-token", "~/.terraform.d/credentials.tfrc.json", "~/.config/rclone/rclone.conf", "~/.s3cfg", "~/.pgpass", "~/.my.cnf",
			},
			Regenerates: "nothing",
			way:         remove{value: having("auth", "oken", "ecret", "pass", "key")},
		},
		{
			Name: "gnupg-keys", Kind: Secret, Default: false, Where: "any",
			Why:         "who has a clone signs and decrypts as the master's users",
			Source:      "man 1 gpg-agent (FILES)",
			Paths:       []string{"~/.gnupg/private-keys-v1.d/*", "~/.gnupg/secring.gpg"},
			Regenerates: "nothing",
			way:         remove{},
		},
		{
			Name: "keyrings", Kind: Secret, Default: false, Where: "any",
			Why:         "the passwords that the desktop keeps for the master's users",
			Source:      "https://github.com/GNOME/gnome-keyring/blob/main/daemon/dbus/gkd-secret-service.c (keyrings); https://wiki.archlinux.org/title/KDE_Wallet",
			Paths:       []string{"~/.local/share/keyrings/*", "~/.gnome2/keyrings/*", "~/.local/share/kwalletd/*", "~/.kde/share/apps/kwallet/*"},
			Regenerates: "the desktop, empty",
			way:         remove{},
		},
		{
			Name: "package-credentials", Kind: Secret, Default: false, Where: "any",
			Why:         "passwords of repositories, in every clone",
			Source:      "man 5 apt_auth.conf",
			Paths:       []string{"etc/apt/auth.conf", "etc/apt/auth.conf.d/*.conf", "etc/zypp/credentials.cat", "etc/pip.conf"},
			Regenerates: "nothing",
			way:         remove{},
		},
		{
			Name: "letsencrypt", Kind: Secret, Default: false, Where: "any",
			Why:    "the account's key and the sites' keys: who has a clone can pass for the sites",
			Source: "https://eff-certbot.readthedocs.io/en/stable/using.html#where-are-my-certificates; https://github.com/certbot/certbot/blob/main/certbot/src/certbot/_internal/account.py",
			Paths: []string{
				"etc/letsencrypt/accounts/*/*/*/private_key.json", "etc/letsencrypt/archive/*/privkey*.pem",
			},
			Regenerates: "certbot, where the clone has the site's name",
			way:         remove{},
		},
		{
			Name: "tls-keys", Kind: Secret, Default: false, Where: "any",
			Why:         "a server's key on every clone opens what was sent to any of them",
			Source:      "man 1 virt-sysprep (ca-certificates)",
			Paths:       []string{"etc/pki/tls/private/*.key", "etc/pki/tls/private/*.pem", "etc/pki/CA/private/*.key", "etc/ssl/private/*.key", "etc/ssl/private/*.pem"},
			Regenerates: "nothing",
			way:         remove{except: []string{"etc/ssl/private/ssl-cert-snakeoil.key", "etc/pki/tls/private/localhost.key"}},
		},
	}
}
