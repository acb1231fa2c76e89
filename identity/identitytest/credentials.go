package identitytest

func credentialPlants() map[string]Plant {
	return map[string]Plant{
		"gnupg-keys": gone("root/.gnupg/private-keys-v1.d/x", "home/ann/.gnupg/secring.gpg"),
		"keyrings": gone(
			"root/.local/share/keyrings/x", "home/ann/.gnome2/keyrings/x", "root/.local/share/kwalletd/x", "home/ann/.kde/share/apps/kwallet/x",
		),
		"package-credentials": gone("etc/apt/auth.conf", "etc/apt/auth.conf.d/x.conf", "etc/zypp/credentials.cat", "etc/pip.conf"),
		"letsencrypt":         gone("etc/letsencrypt/accounts/acme/directory/x/private_key.json", "etc/letsencrypt/archive/x/privkey.pem"),
		"tls-keys": gone(
			"etc/pki/tls/private/x.key", "etc/pki/tls/private/x.pem", "etc/pki/CA/private/x.key", "etc/ssl/private/x.key", "etc/ssl/private/x.pem",
		),
		"cloud-credentials": of("token = PLANTED", None, []string{
			"root/.aws/credentials", "home/ann/.aws/sso/cache/x", "root/.config/gcloud/credentials.db", "home/ann/.config/gcloud/application_default_credentials.json",
			"root/.config/gcloud/legacy_credentials/x/x.json", "home/ann/.azure/msal_token_cache.json", "root/.azure/accessTokens.json",
			"home/ann/.config/openstack/clouds.yaml", "root/.kube/config", "home/ann/.docker/config.json", "root/.config/containers/auth.json", "home/ann/.netrc",
			"root/.git-credentials", "home/ann/.config/git/credentials", "root/.config/gh/hosts.yml", "home/ann/.npmrc", "root/.pypirc", "home/ann/.cargo/credentials.toml",
			"root/.vault-token", "home/ann/.terraform.d/credentials.tfrc.json", "root/.config/rclone/rclone.conf", "home/ann/.s3cfg", "root/.pgpass", "home/ann/.my.cnf",
		}),
	}
}
